"""Some of the test images in the place of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(total: int, count: int) -> NDArray[np.int64]:
    """The row numbers (count,) of so many of `total` images, evenly spaced from the first one on.

    MNIST's test images come from two groups of writers, one behind the other, and the first group is the harder one: its first
    images alone stand for no more than themselves.
    """
    return np.arange(count) * total // count
