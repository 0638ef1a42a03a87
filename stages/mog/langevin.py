"""Langevin dynamics: samples from a density of which only the score is known."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from stages.errors import UserError

Points = NDArray[np.float64]


def langevin(
    score: Callable[[Points], Points],
    start: Points,
    *,
    step_size: float,
    steps: int,
    moments: Collection[int],
    rng: np.random.Generator,
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
        moments: the steps after which the walk is kept, 0 for the start.
        rng: gives ξ.

    Returns:
        The last points (..., N, 2) and the walk at the moments (F, ..., N, 2).

    Raises:
        UserError: the chain left every bound.
    """
    x = start.copy()
    walk = []
    for step in range(steps + 1):
        if step in moments:
            walk.append(x.copy())
        if step < steps:
            x = x + step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
    if not np.isfinite(x).all():
        raise UserError(f"Langevin dynamics diverged: a step size of {step_size} is too large for this score")
    return x, np.array(walk)
