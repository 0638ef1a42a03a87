"""Stage mnist_data: fetch the images.

Writes data/mnist/train.npz and data/mnist/test.npz with `images` (N, 28, 28) uint8 and `labels` (N,) int64.
"""

from __future__ import annotations

import numpy as np

from stages.config.params import Params
from stages.core.errors import UserError
from stages.mnist.datasets.sources import fetch
from stages.pipeline import artifacts, files, runner


def main(params: Params) -> None:
    """Fetch the chosen data set and write the first images of each part."""
    dataset = params.mnist.dataset
    parts = fetch(params.mnist.chosen)
    for part, count in (("train", params.mnist.train_images), ("test", params.mnist.test_images)):
        images, labels = parts[f"{part}_images"], parts[f"{part}_labels"].astype(np.int64)
        if len(images) < count:
            raise UserError(
                f"params.yaml: mnist.{part}_images: {count} is not accepted: "
                f"expected at most {len(images)}, the number in {dataset}"
            )
        files.write_arrays(artifacts.data("mnist", part), {"images": images[:count], "labels": labels[:count]})


if __name__ == "__main__":
    runner.run(main, threads=1)
