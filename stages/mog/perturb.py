"""Stage mog_perturb: the fixed random part of the views on which every method is evaluated.

Writes data/mog/views.npz for the N test points: `noise` (2, N, 2), standard normal draws that a method scales by its own noise
level (two, since contrastive views are both noisy), and `visible` (N, 2), 1 for the coordinate that a masked view shows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages import runtime
from stages.params import Params


def main(params: Params) -> None:
    """Draw the noise and the masks."""
    rng = np.random.default_rng(runtime.stream(params, "mog.views"))
    test = runtime.read_arrays(Path("data/mog/test.npz"))["x"]
    noise = rng.standard_normal((2, *test.shape), dtype=np.float32)
    visible = np.eye(2, dtype=np.float32)[rng.integers(2, size=len(test))]
    runtime.write_arrays(Path("data/mog/views.npz"), {"noise": noise, "visible": visible})


if __name__ == "__main__":
    runtime.run(main)
