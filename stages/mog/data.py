"""Stage mog_data: exact samples of the mixture, for training and held out.

Writes data/mog/train.npz and data/mog/test.npz with `x` (N, 2) float32 and `component` (N,), the mode each came from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages import files, runtime
from stages.mog import setting
from stages.params import Params


def main(params: Params) -> None:
    """Sample both sets from streams of their own."""
    mixture = setting.mixture(params.mog)
    for name, count in (("train", params.mog.train_points), ("test", params.mog.test_points)):
        rng = np.random.default_rng(runtime.stream(params, f"mog.{name}"))
        x, component = mixture.sample(count, rng)
        files.write_arrays(Path(f"data/mog/{name}.npz"), {"x": x.astype(np.float32), "component": component})


if __name__ == "__main__":
    runtime.run(main)
