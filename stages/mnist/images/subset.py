"""Subsets of the images. Counts in the params are upper limits: a data set with fewer images uses all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def evenly(total: int, count: int) -> NDArray[np.int64]:
    """Indices of `count` evenly spaced items among `total`, the first one included; of all items if there are fewer.

    MNIST's test images come from two groups of writers, one after the other, so the first images are not representative.
    """
    count = min(count, total)
    return np.arange(count) * total // count


def held_out(total: int, wanted: int) -> int:
    """Number of held-out images among `total` training images, of which they are the last: `wanted`, at most a third."""
    return min(wanted, total // 3)


def kinds(perturbed: Mapping[str, NDArray[Any]]) -> list[str]:
    """The names of the perturbations in data/mnist/perturbed.npz, whose arrays are (L, M, H, W[, 3]) with L strengths."""
    return [name for name in perturbed if name != "rows" and not name.startswith("mixed")]
