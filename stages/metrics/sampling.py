"""Do samples come from the target density? Each metric is 0 for an infinitely large exact sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]


def mode_weight_tv(found: Array, weights: Array) -> float:
    """The total variation ½ (Σ_k |ŵ_k − w_k| + 1 − Σ_k ŵ_k) between mode weights.

    Args:
        found: shares of the samples ŵ (K,); the share 1 − Σ_k ŵ_k of the samples is in no mode.
        weights: true weights w (K,).
    """
    return float((np.abs(found - weights).sum() + 1 - found.sum()) / 2)


def within_distance(a: Array) -> float:
    """E ‖a − a'‖ over all pairs of different samples of a (N, d)."""
    return float(cdist(a, a).sum() / (len(a) * (len(a) - 1)))


def energy_distance(a: Array, b: Array, within_b: float | None = None) -> float:
    """2 E‖a − b‖ − E‖a − a'‖ − E‖b − b'‖, unbiased, so it may be slightly below 0.

    Székely and Rizzo 2013, "Energy statistics".

    Args:
        a: samples (N, d).
        b: samples (M, d).
        within_b: `within_distance(b)`, if it is known.
    """
    return float(2 * cdist(a, b).mean() - within_distance(a) - (within_distance(b) if within_b is None else within_b))


def energy_coefficient(a: Array, b: Array, within_b: float | None = None) -> float:
    """The energy distance divided by its upper bound 2 E‖a − b‖: at most 1 and invariant to the unit of x.

    Székely and Rizzo 2013, "Energy statistics", with the unbiased distance, so it may be slightly below 0.

    Args:
        a: samples (N, d).
        b: samples (M, d).
        within_b: `within_distance(b)`, if it is known.
    """
    between = float(2 * cdist(a, b).mean())
    return (between - within_distance(a) - (within_distance(b) if within_b is None else within_b)) / between


def sliced_wasserstein(a: Array, b: Array, projections: Array) -> float:
    """The sliced Wasserstein-2 distance of two samples of equal size.

        ( mean_u mean_i (sort(a·u)_i − sort(b·u)_i)² )^½

    Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".

    Args:
        a: samples (N, d).
        b: samples (N, d).
        projections: unit vectors u (P, d).
    """
    return float(np.sqrt(np.mean((np.sort(a @ projections.T, 0) - np.sort(b @ projections.T, 0)) ** 2)))


def unit_directions(count: int, dim: int = 2) -> Array:
    """`count` unit vectors (count, dim), in the plane at equal angles over half a turn, else uniform on the sphere.

    Opposite vectors give the same projection.
    """
    if dim == 2:
        angle = np.pi * np.arange(count) / count
        return np.stack((np.cos(angle), np.sin(angle)), -1)
    vectors = np.random.default_rng(0).standard_normal((count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
