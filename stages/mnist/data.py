"""Stage mnist_data: fetch the images.

Writes data/mnist/train.npz and data/mnist/test.npz with `images`, (N, H, W) grey or (N, H, W, 3) colour, uint8, and `labels`
(N,), int64, 0..C-1; and data/mnist/classes.json with `classes`, the C class names.
"""

from __future__ import annotations

import numpy as np

from stages.config.params import Params
from stages.core.errors import UserError
from stages.mnist.datasets.sources import fetch
from stages.pipeline import artifacts, files, runner

LEAST = {"train": 100, "test": 20}
"""Fewest images of each part: the evaluation needs neighbours and examples."""


def main(params: Params) -> None:
    """Fetch the chosen data set and write the first images of each part, and the class names."""
    parts = fetch(params.mnist.dataset, params.mnist.chosen)
    for part, count in (("train", params.mnist.train_images), ("test", params.mnist.test_images)):
        images, labels = parts.images(part), parts.labels(part).astype(np.int64)
        if len(images) < LEAST[part]:
            raise UserError(
                f"mnist.datasets.{params.mnist.dataset}: {len(images)} {part} images, expected at least {LEAST[part]}"
            )
        files.write_arrays(artifacts.data("mnist", part), {"images": images[:count], "labels": labels[:count]})
    files.write_json(artifacts.CLASSES, {"classes": parts.classes})


if __name__ == "__main__":
    runner.run(main, threads=1)
