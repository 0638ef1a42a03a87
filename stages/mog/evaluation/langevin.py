"""Langevin dynamics: samples from a density of which only the score is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stages.core.errors import UserError

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """The part of the plane in which particles move; one that leaves it has escaped and stays where it left, on the edge.

    A learned score is nobody's business far from the data, and can point outwards there.
    """

    low: Points
    high: Points

    def holds(self, x: Points) -> NDArray[np.bool_]:
        """Which of the points (..., 2) lie inside, (...)."""
        inside = np.ones(x.shape[:-1], dtype=bool)
        # Coordinate by coordinate: a reduction over an axis of two takes longer than all of the comparisons.
        for coordinate, low, high in zip(np.moveaxis(x, -1, 0), self.low, self.high, strict=True):
            inside &= (coordinate > low) & (coordinate < high)
        return inside


def langevin(
    score: Callable[[Points], Points],
    start: Points,
    *,
    step_size: float,
    steps: int,
    moments: Collection[int],
    region: Region,
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
        region: where the particles move.
        rng: gives ξ.

    Returns:
        The last points (..., N, 2) and the walk at the moments (F, ..., N, 2).

    Raises:
        UserError: most particles escaped, or one is nowhere.
    """
    return _walk([(score, step_size)] * steps, start, moments, region, rng)


def annealed_langevin(
    score: Callable[[Points, float], Points],
    start: Points,
    *,
    sigmas: Sequence[float],
    step_ratio: float,
    steps: int,
    moments: Collection[int],
    region: Region,
    rng: np.random.Generator,
) -> tuple[Points, Points]:
    """Langevin dynamics down a ladder of noise levels, each starting where the one above ended.

        x ← x + η_σ s(x, σ) + √(2η_σ) ξ,   η_σ = step_ratio · σ²

    At the largest σ all modes are one hill, over which particles spread in the right proportions; each rung below sharpens it.
    Song and Ermon 2019, arXiv 1907.05600, algorithm 1.

    Args:
        score: s, from points (..., N, 2) and σ to (..., N, 2).
        start: points (..., N, 2).
        sigmas: the ladder, falling.
        step_ratio: η_σ / σ².
        steps: on each rung.
        moments: the steps, counted over all rungs, after which the walk is kept.
        region: where the particles move.
        rng: gives ξ.

    Returns:
        The last points (..., N, 2) and the walk at the moments (F, ..., N, 2).

    Raises:
        UserError: most particles escaped, or one is nowhere.
    """
    rungs = [(partial(_at, score, sigma), step_ratio * sigma**2) for sigma in sigmas for _ in range(steps)]
    return _walk(rungs, start, moments, region, rng)


def _at(score: Callable[[Points, float], Points], sigma: float, x: Points) -> Points:
    return score(x, sigma)


def _walk(
    plan: Sequence[tuple[Callable[[Points], Points], float]],
    start: Points,
    moments: Collection[int],
    region: Region,
    rng: np.random.Generator,
) -> tuple[Points, Points]:
    """One step for each score and step size of the plan."""
    x = start.copy()
    walk = [x.copy()] if 0 in moments else []
    inside = region.holds(x)
    noise = np.empty_like(x)
    for step, (score, step_size) in enumerate(plan, 1):
        rng.standard_normal(out=noise)
        noise *= np.sqrt(2 * step_size)
        moved = x + step_size * score(x)
        moved += noise
        still = region.holds(moved)
        if inside.all() and still.all():
            x, inside = moved, still
        else:
            x = np.where(inside[..., None], moved.clip(region.low, region.high), x)
            inside = region.holds(x)
        if step in moments:
            walk.append(x.copy())
    if not np.isfinite(x).all() or inside.mean() < 0.5:
        largest = max(step_size for _, step_size in plan)
        raise UserError(f"Langevin dynamics diverged: a step size of {largest:g} is too large for this score")
    return x, np.array(walk)
