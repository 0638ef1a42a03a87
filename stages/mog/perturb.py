"""Stage mog_perturb: the fixed random part of the views on which every method is evaluated.

Writes data/mog/views.npz with R rounds of views of the N test points: `noise` (R, 2, N, 2), standard normal draws that a method
scales by its own noise level (two, since contrastive views are both noisy); `visible` (R, N, 2), 1 for the coordinate that a
masked view shows; and `order` (R, N), in which the points form batches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages import files, runtime
from stages.params import Params


def main(params: Params) -> None:
    """Draw the noise, the masks and the orders."""
    rng = np.random.default_rng(runtime.stream(params, "mog.views"))
    test = files.read_arrays(Path("data/mog/test.npz"))["x"]
    rounds = params.mog.heldout_rounds
    noise = rng.standard_normal((rounds, 2, *test.shape), dtype=np.float32)
    visible = np.eye(2, dtype=np.float32)[rng.integers(2, size=(rounds, len(test)))]
    order = rng.permuted(np.tile(np.arange(len(test)), (rounds, 1)), axis=1)
    files.write_arrays(Path("data/mog/views.npz"), {"noise": noise, "visible": visible, "order": order})


if __name__ == "__main__":
    runtime.run(main)
