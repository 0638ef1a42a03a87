"""Subsets of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def evenly(total: int, count: int) -> NDArray[np.int64]:
    """The row numbers (count,) of so many of `total` images, evenly spaced from the first one on.

    MNIST's test images come from two groups of writers, one behind the other, and the first group is the harder one: its first
    images alone stand for no more than themselves.
    """
    return np.arange(count) * total // count


def kinds(perturbed: Mapping[str, NDArray[Any]]) -> list[str]:
    """The perturbations of which data/mnist/perturbed.npz has images at several strengths, (L, M, 28, 28)."""
    return [name for name, images in perturbed.items() if images.ndim == 4]
