"""The path of the reference point in the animations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.mog.problem.gaussian_mixture import Mixture


def reference_path(mixture: Mixture, count: int) -> NDArray[np.float64]:
    """`count` points (count, 2) of a closed path through the modes, ordered by their angle about the mixture's mean.

    The path is straight from mode to mode, with constant speed; with a single mode it is that mode's one-σ ellipse.
    """
    if len(mixture.means) == 1:
        angle = 2 * np.pi * np.arange(count) / count
        circle = np.stack((np.cos(angle), np.sin(angle)), -1)
        return mixture.means[0] + circle @ np.linalg.cholesky(mixture.covariances[0]).T
    offset = mixture.means - mixture.weights @ mixture.means
    stops = mixture.means[np.argsort(np.arctan2(offset[:, 1], offset[:, 0]), kind="stable")]
    closed = np.vstack((stops, stops[:1]))
    length = np.concatenate(([0], np.linalg.norm(np.diff(closed, axis=0), axis=-1).cumsum()))
    at = np.linspace(0, length[-1], count, endpoint=False)
    return np.stack([np.interp(at, length, closed[:, axis]) for axis in (0, 1)], -1)
