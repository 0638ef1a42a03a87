"""The mixture world as the params describe it: the mixture, its grid, its methods."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.mog.mixture import Mixture
from stages.schema import Mog


def mixture(mog: Mog) -> Mixture:
    """The chosen preset as a mixture."""
    chosen = mog.mixture
    return Mixture(np.array(chosen.means), np.array(chosen.covariances), np.array(chosen.weights))


def grid_axes(mog: Mog) -> tuple[NDArray[Any], NDArray[Any]]:
    """The coordinates of the grid's nodes along x (W,) and y (H,)."""
    box = mog.mixture.box
    (left, right), (bottom, top) = box.x, box.y
    return np.linspace(left, right, mog.grid), np.linspace(bottom, top, mog.grid)


def box(mog: Mog) -> list[list[float]]:
    """The lower and upper end of each coordinate."""
    return [mog.mixture.box.x, mog.mixture.box.y]


def uniform_in_box(mog: Mog, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` points uniform in the box."""
    low, high = np.array(box(mog)).T
    return rng.uniform(low, high, (count, 2))
