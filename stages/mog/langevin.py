"""Langevin dynamics: samples from a density of which only the score is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stages.errors import UserError

Points = NDArray[np.float64]


def langevin(
    score: Callable[[Points], Points], start: Points, *, step_size: float, steps: int, frames: int, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Unadjusted Langevin dynamics.

        x ← x + η s(x) + √(2η) ξ,   ξ ~ N(0, I)

    As η → 0 and the number of steps → ∞ the law of x tends to the density whose score is s. In finite time a particle rarely
    leaves the well it fell into, so the weights of separated modes are those of the wells' catchment areas at the start.

    Args:
        score: s, from points (..., N, 2) to (..., N, 2).
        start: points (..., N, 2).
        step_size: η, in squared units of x.
        steps: how many.
        frames: how many moments of the walk to return, evenly spaced, start and end among them.
        rng: gives ξ.

    Returns:
        The last points (..., N, 2) and the kept moments (frames, ..., N, 2).

    Raises:
        UserError: the chain left every bound.
    """
    x = start.copy()
    moments = set(np.linspace(0, steps, frames).round().astype(int).tolist())
    walk = []
    for step in range(steps + 1):
        if step in moments:
            walk.append(x.copy())
        if step < steps:
            x = x + step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
    if not np.isfinite(x).all():
        raise UserError(f"Langevin dynamics diverged: a step size of {step_size} is too large for this score")
    return x, np.stack(walk)
