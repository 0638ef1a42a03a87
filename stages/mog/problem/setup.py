"""The mixture of Gaussians as params.yaml describes it: its density, its box, its grid.

`mog_data` writes the description beside the points that it samples from it, and later stages read it from there: what they
measure against is the mixture that the points came from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.messages import check
from stages.config.mixture import MixtureParams
from stages.mog.problem.gaussian_mixture import Mixture
from stages.pipeline import artifacts, files

FILE = artifacts.MIXTURE


def write(described: MixtureParams) -> None:
    """Write the description of the mixture beside its points."""
    files.write_json(FILE, described.model_dump())


def read() -> MixtureParams:
    """The description of the mixture that the points came from."""
    return check(FILE, MixtureParams, files.read_json(FILE))


def mixture(described: MixtureParams) -> Mixture:
    """The density."""
    return Mixture(np.array(described.means), np.array(described.covariances), np.array(described.weights))


def grid_axes(described: MixtureParams, nodes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The coordinates of the grid's nodes along x (W,) and y (H,), with that many on each side of the box."""
    (left, right), (bottom, top) = box(described)
    return np.linspace(left, right, nodes), np.linspace(bottom, top, nodes)


def box(described: MixtureParams) -> list[list[float]]:
    """The lower and upper end of each coordinate."""
    return [described.box.x, described.box.y]


def uniform_in_box(described: MixtureParams, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` points uniform in the box (count, 2)."""
    low, high = np.array(box(described)).T
    return rng.uniform(low, high, (count, 2))
