"""The densities and velocities of a flow from normal noise to the mixture, in closed form.

A path x_t = a(t) x + b(t) ε interpolates between the mixture and ε ~ N(0, I). Flow matching has a = t and b = 1 − t, the
probability flow of diffusion a = 1 and b = σ = exp t. The density p_t of x_t is a mixture, and the velocity

    u(x, t) = E[a' x + b' ε | x_t = x] = a'/a (x + b² s) − b' b s,    s = ∇ log p_t(x)

transports it, since E[ε | x_t] = −b s and x_t = a E[x | x_t] + b E[ε | x_t].

Lipman et al. 2023, arXiv 2210.02747, theorem 1; Albergo et al. 2023, "Stochastic interpolants", arXiv 2303.08797.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.mog.problem.gaussian_mixture import Mixture

Array = NDArray[np.float64]
Path = tuple[float, float, float, float]
"""a, b and their derivatives a', b' at one t."""


def density(mixture: Mixture, path: Path) -> Mixture:
    """p_t, the density of a x + b ε; for b = 0 and a = 1 the mixture itself."""
    a, b, _, _ = path
    eye = np.eye(mixture.means.shape[1])
    return Mixture(a * mixture.means, a**2 * mixture.covariances + b**2 * eye, mixture.weights)


def velocity(mixture: Mixture, path: Path, x: Array) -> Array:
    """u(x, t) at points (..., d), of the shape of x."""
    a, b, a_slope, b_slope = path
    score = density(mixture, path).score(x)
    # At a = 0, x_t is the noise alone and says nothing about x.
    clean = (x + b**2 * score) / a if a else np.broadcast_to(mixture.weights @ mixture.means, x.shape)
    return np.asarray(a_slope * clean - b_slope * b * score)
