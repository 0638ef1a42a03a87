"""Does the embedding preserve the structure of the plane, globally (distances) and locally (neighbours)?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist

from stages.metrics.ranks import ranks

Array = NDArray[np.float64]


def distance_spearman(x: Array, z: Array) -> float:
    """Spearman's rank correlation of ‖z_i − z_j‖ with ‖x_i − x_j‖ over all pairs; 0 if all embeddings coincide."""
    return correlation(distance_ranks(x), distance_ranks(z))


def distance_ranks(x: Array) -> Array:
    """The ranks, minus their mean, of the distances ‖x_i − x_j‖ of all pairs of points (N, D): (N (N − 1) / 2,)."""
    found = ranks(pdist(x))
    return np.asarray(found - found.mean())


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation of values (M,) and (M,) with mean 0; 0 if either is constant."""
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0


def silhouette(z: Array, component: NDArray[np.int64]) -> float:
    """The mean silhouette (b − a) / max(a, b) of the points z (N, D); from −1 to 1.

    a and b are the mean distances of a point to the other points of its component, and to the points of the nearest other
    component; a point that is alone in its component counts 0. Returns 0 if there are fewer than two components.
    Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis".
    """
    labels, places, counts = np.unique(component, return_inverse=True, return_counts=True)
    if not 1 < len(labels) < len(z):
        return 0.0
    rows = np.arange(len(z))
    sums = cdist(z, z) @ np.eye(len(labels))[places]
    own = sums[rows, places] / np.maximum(counts[places] - 1, 1)
    means = sums / counts
    means[rows, places] = np.inf
    other = means.min(-1)
    larger = np.maximum(own, other)
    values = np.divide(other - own, larger, out=np.zeros(len(z)), where=larger > 0)
    return float(np.where(counts[places] > 1, values, 0).mean())


def trustworthiness(x: Array, z: Array, neighbours: int) -> float:
    """1 minus a penalty for points that are neighbours in the embedding z (N, D), but not in the plane x (N, d); 1 is perfect.

        1 − 2 / (N k (2N − 3k − 1)) Σ_i Σ_{j among the k nearest to i in z} max(0, r(i, j) − k)

    r(i, j) is the rank, from 1, of j by distance to i in x.
    Venna and Kaski 2001, "Neighborhood preservation in nonlinear projection methods".
    """
    count = len(x)
    order = _by_distance(x)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, count + 1), axis=1)
    excess = np.take_along_axis(rank, _by_distance(z)[:, :neighbours], axis=1) - neighbours
    return float(1 - excess[excess > 0].sum() * (2 / (count * neighbours * (2 * count - 3 * neighbours - 1))))


def _by_distance(x: Array) -> NDArray[np.int64]:
    """All points ordered by distance to each point of x (N, D), nearest first and the point itself last, (N, N)."""
    distances = cdist(x, x)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)


def continuity(x: Array, z: Array, neighbours: int) -> float:
    """Trustworthiness with x and z exchanged: penalises neighbours in the plane that are not neighbours in the embedding."""
    return trustworthiness(z, x, neighbours)
