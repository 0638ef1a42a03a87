"""Stage mnist_data: the images.

Writes data/mnist/train.npz and data/mnist/test.npz with `images` (N, 28, 28) uint8 and `labels` (N,) int64.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages import runtime
from stages.mnist.sources import fetch
from stages.params import Params


def main(params: Params) -> None:
    """Fetch the chosen data set and keep the first images of each part."""
    files = fetch(params.mnist.chosen)
    for part, count in (("train", params.mnist.train_images), ("test", params.mnist.test_images)):
        images, labels = files[f"{part}_images"][:count], files[f"{part}_labels"][:count].astype(np.int64)
        runtime.write_arrays(Path(f"data/mnist/{part}.npz"), {"images": images, "labels": labels})


if __name__ == "__main__":
    runtime.run(main)
