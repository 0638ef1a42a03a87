"""Subsets of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def evenly(total: int, count: int) -> NDArray[np.int64]:
    """Indices (count,) of `count` evenly spaced items among `total`, the first one included.

    MNIST's test images come from two groups of writers, one after the other, so the first images are not representative.
    """
    return np.arange(count) * total // count


def kinds(perturbed: Mapping[str, NDArray[Any]]) -> list[str]:
    """The names of the perturbations in data/mnist/perturbed.npz, whose arrays are (L, M, 28, 28) with L strengths."""
    return [name for name, images in perturbed.items() if images.ndim == 4]
