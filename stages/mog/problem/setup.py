"""The mixture of Gaussians as params.yaml describes it: its density, its box, its grid.

`mog_data` writes the description beside the points, and later stages read it from there, so that methods are evaluated against
the mixture that the points were sampled from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.messages import check
from stages.config.mixture import MixtureParams
from stages.core.errors import UserError
from stages.mog.problem.gaussian_mixture import Mixture
from stages.pipeline import artifacts, files

FILE = artifacts.MIXTURE
"""The description, written by `mog_data`."""


OTHER_COORDINATES = [-5.0, 5.0]
"""The box in each noise coordinate."""


def write(described: MixtureParams) -> None:
    """Write the description of the mixture beside its points."""
    files.write_json(FILE, described.model_dump(exclude_defaults=True))


def read() -> MixtureParams:
    """Read and validate the description of the mixture that the points were sampled from."""
    return check(FILE, MixtureParams, files.read_json(FILE))


def mixture(described: MixtureParams) -> Mixture:
    """The density of a description, in 2 + `noise_coordinates` dimensions."""
    more = described.noise_coordinates
    means = np.pad(np.array(described.means), ((0, 0), (0, more)))
    covariances = np.pad(np.array(described.covariances), ((0, 0), (0, more), (0, more)))
    covariances[:, range(2, 2 + more), range(2, 2 + more)] = 1
    return Mixture(means, covariances, np.array(described.weights))


def require_plane(described: MixtureParams) -> MixtureParams:
    """The description, of a mixture in the plane.

    Raises:
        UserError: its points have more than two coordinates.
    """
    if described.noise_coordinates:
        raise UserError(f"{2 + described.noise_coordinates} coordinates: landscapes need a mixture in the plane")
    return described


def grid_axes(described: MixtureParams, nodes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The coordinates of the grid's nodes along x (W,) and y (H,), with `nodes` along each side of the box."""
    (left, right), (bottom, top) = box(described)[:2]
    return np.linspace(left, right, nodes), np.linspace(bottom, top, nodes)


def box(described: MixtureParams) -> list[list[float]]:
    """The lower and upper end of each coordinate, (d, 2)."""
    return [described.box.x, described.box.y, *[OTHER_COORDINATES] * described.noise_coordinates]


def uniform_in_box(described: MixtureParams, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` points uniform in the box (count, d)."""
    low, high = np.array(box(described)).T
    return rng.uniform(low, high, (count, len(low)))
