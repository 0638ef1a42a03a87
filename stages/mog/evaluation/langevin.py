"""Langevin dynamics: samples from a density whose score is known."""

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
    """The box in which particles move. A particle that leaves it has escaped: it stays at the nearest boundary point.

    Learned scores are unreliable far from the data and can point outwards there.

    Args:
        low, high: opposite corners, (d,) each.
    """

    low: Points
    high: Points

    def holds(self, x: Points) -> NDArray[np.bool_]:
        """Whether each point (..., 2) lies inside, (...)."""
        inside = np.ones(x.shape[:-1], dtype=bool)
        # A reduction over an axis of length two takes longer than these comparisons.
        for coordinate, low, high in zip(np.moveaxis(x, -1, 0), self.low, self.high, strict=True):
            inside &= (coordinate > low) & (coordinate < high)
        return inside


def langevin(
    score: Callable[[Points], Points],
    start: Points,
    *,
    step_size: float,
    steps: int,
    snapshots: Collection[int],
    region: Region,
    rng: np.random.Generator,
) -> tuple[Points, Points]:
    """Unadjusted Langevin dynamics.

        x ← x + η s(x) + √(2η) ξ,   ξ ~ N(0, I)

    As η → 0 and the number of steps → ∞ the distribution of x converges to the density whose score is s. In finite time a
    particle rarely leaves its first mode, so the weights of separated modes depend on the start.

    Args:
        score: s, from points (..., N, 2) to (..., N, 2).
        start: points (..., N, 2).
        step_size: η, in squared units of x.
        steps: number of steps.
        snapshots: steps after which the particles are recorded, 0 for the start.
        region: the box of the particles.
        rng: generator of ξ.

    Returns:
        The last points (..., N, 2) and the recorded ones (F, ..., N, 2).

    Raises:
        UserError: most particles escaped, or a coordinate is not finite.
    """
    return _run([(score, step_size)] * steps, start, snapshots, region, rng)


def annealed_langevin(
    score: Callable[[Points, float], Points],
    start: Points,
    *,
    sigmas: Sequence[float],
    step_ratio: float,
    steps: int,
    snapshots: Collection[int],
    region: Region,
    rng: np.random.Generator,
) -> tuple[Points, Points]:
    """Annealed Langevin dynamics: down a noise schedule, each level starting from the samples of the one before.

        x ← x + η_σ s(x, σ) + √(2η_σ) ξ,   η_σ = step_ratio · σ²

    At the largest σ the density has one mode and the particles mix; each following level refines it.
    Song and Ermon 2019, arXiv 1907.05600, algorithm 1.

    Args:
        score: s, from points (..., N, 2) and σ to (..., N, 2).
        start: points (..., N, 2).
        sigmas: the noise schedule, decreasing.
        step_ratio: η_σ / σ².
        steps: per noise level.
        snapshots: steps, counted over all noise levels, after which the particles are recorded.
        region: the box of the particles.
        rng: generator of ξ.

    Returns:
        The last points (..., N, 2) and the recorded ones (F, ..., N, 2).

    Raises:
        UserError: most particles escaped, or a coordinate is not finite.
    """
    plan = [(partial(_at, score, sigma), step_ratio * sigma**2) for sigma in sigmas for _ in range(steps)]
    return _run(plan, start, snapshots, region, rng)


def _at(score: Callable[[Points, float], Points], sigma: float, x: Points) -> Points:
    return score(x, sigma)


def _run(
    plan: Sequence[tuple[Callable[[Points], Points], float]],
    start: Points,
    snapshots: Collection[int],
    region: Region,
    rng: np.random.Generator,
) -> tuple[Points, Points]:
    """One step per score and step size of the plan."""
    x = start.copy()
    recorded = [x.copy()] if 0 in snapshots else []
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
        if step in snapshots:
            recorded.append(x.copy())
    if not np.isfinite(x).all() or inside.mean() < 0.5:
        largest = max(step_size for _, step_size in plan)
        raise UserError(
            f"Langevin dynamics diverged: a step size of {largest:g} is too large for this score"
            " (langevin.step_size, annealed.step_ratio)"
        )
    return x, np.array(recorded)
