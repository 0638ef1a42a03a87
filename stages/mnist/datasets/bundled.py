"""Source kind `sklearn`: images that scikit-learn contains, so that they need no download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.mnist.datasets.parts import DIGITS, Parts, as_labels

TEST_DIGITS = 360
"""The last of the 1,797 digits, which other writers wrote than the first ones."""
TRAIN_PATCHES, TEST_PATCHES = 1000, 250
"""Patches of each photograph."""


def read(location: str, side: int) -> Parts:
    """The images of scikit-learn named `location`: digits or photographs.

    Args:
        location: `digits`, 1,797 grey images of 8 × 8 pixels; or `photographs`, colour patches of two photographs.
        side: of the patches, pixels.

    Raises:
        ValueError: there are no such images.
    """
    match location:
        case "digits":
            return _digits()
        case "photographs":
            return _photographs(side)
    raise ValueError("scikit-learn has no such images, expected digits or photographs")


def _digits() -> Parts:
    from sklearn.datasets import load_digits

    stored = load_digits()
    # The grey values are 0 to 16.
    images, labels = np.rint(stored.images * (255 / 16)).astype(np.uint8), as_labels(stored.target)
    return Parts(images[:-TEST_DIGITS], labels[:-TEST_DIGITS], images[-TEST_DIGITS:], labels[-TEST_DIGITS:], DIGITS)


def _photographs(side: int) -> Parts:
    """Patches at random places: test patches from a strip in the middle of a photograph, training patches from its sides."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    train, test = [], []
    for photograph in load_sample_images().images:
        left, right = (photograph.shape[1] * 2 // 5, photograph.shape[1] * 3 // 5)
        train += _patches(photograph[:, :left], side, TRAIN_PATCHES // 2, rng)
        train += _patches(photograph[:, right:], side, TRAIN_PATCHES // 2, rng)
        test += _patches(photograph[:, left:right], side, TEST_PATCHES, rng)
    labels = [np.repeat(np.arange(2), count) for count in (TRAIN_PATCHES, TEST_PATCHES)]
    return Parts(np.stack(train), as_labels(labels[0]), np.stack(test), as_labels(labels[1]), ("china", "flower"))


def _patches(area: NDArray[np.uint8], side: int, count: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    rows, columns = (rng.integers(length - side + 1, size=count) for length in area.shape[:2])
    return [area[row : row + side, column : column + side] for row, column in zip(rows, columns, strict=True)]
