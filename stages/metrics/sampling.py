"""Do samples come from the density they are meant to come from? Each figure is 0 for a perfect, infinitely large sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]


def mode_weight_tv(found: Array, weights: Array) -> float:
    """Total variation ½ (Σ_k |ŵ_k − w_k| + 1 − Σ_k ŵ_k) of shares ŵ (K,) and weights w (K,); the last term is in no mode."""
    return float((np.abs(found - weights).sum() + 1 - found.sum()) / 2)


def energy_distance(a: Array, b: Array) -> float:
    """2 E‖a − b‖ − E‖a − a'‖ − E‖b − b'‖ of samples (N, 2) and (M, 2), unbiased: it may come out slightly below 0.

    Székely and Rizzo 2013, "Energy statistics".
    """
    within_a = cdist(a, a).sum() / (len(a) * (len(a) - 1))
    within_b = cdist(b, b).sum() / (len(b) * (len(b) - 1))
    return float(2 * cdist(a, b).mean() - within_a - within_b)


def energy_coefficient(a: Array, b: Array) -> float:
    """The energy distance divided by its upper bound 2 E‖a − b‖: at most 1, whatever the unit of x.

    Székely and Rizzo 2013, "Energy statistics", with the unbiased distance: it may come out slightly below 0.
    """
    return energy_distance(a, b) / float(2 * cdist(a, b).mean())


def sliced_wasserstein(a: Array, b: Array, projections: Array) -> float:
    """Sliced Wasserstein-2 distance of two samples of equal size: root mean square over unit directions of the projected one.

        ( mean_u mean_i (sort(a·u)_i − sort(b·u)_i)² )^½

    Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".

    Args:
        a: samples (N, 2).
        b: samples (N, 2).
        projections: unit vectors u (P, 2).
    """
    return float(np.sqrt(np.mean((np.sort(a @ projections.T, 0) - np.sort(b @ projections.T, 0)) ** 2)))


def unit_directions(count: int) -> Array:
    """`count` unit vectors (count, 2) evenly spread over half a turn, which is all that projections can tell apart."""
    angle = np.pi * np.arange(count) / count
    return np.stack((np.cos(angle), np.sin(angle)), -1)
