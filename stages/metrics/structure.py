"""Is the structure of the plane kept in the embedding: the global one (distances), the local one (neighbours)?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from scipy.stats import rankdata
from sklearn.manifold import trustworthiness as _trustworthiness
from sklearn.metrics import silhouette_score

Array = NDArray[np.float64]


def distance_spearman(x: Array, z: Array) -> float:
    """Spearman's rank correlation of ‖z_i − z_j‖ with ‖x_i − x_j‖ over all pairs; 0 where all embeddings coincide."""
    return correlation(distance_ranks(x), distance_ranks(z))


def distance_ranks(x: Array) -> Array:
    """The ranks of the distances ‖x_i − x_j‖ of all pairs of points (N, D), less their mean: (N (N − 1) / 2,)."""
    ranks = rankdata(pdist(x))
    return np.asarray(ranks - ranks.mean())


def correlation(a: Array, b: Array) -> float:
    """Pearson's correlation of values with mean 0, (M,) and (M,); 0 where all of either are equal."""
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0


def silhouette(z: Array, component: NDArray[np.int64]) -> float:
    """Mean of (b − a) / max(a, b), a and b the mean distances of a point to its own and to the next component; from −1 to 1.

    Rousseeuw 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis". 0 where there are
    not at least two components.
    """
    return float(silhouette_score(z, component)) if 1 < len(np.unique(component)) < len(z) else 0.0


def trustworthiness(x: Array, z: Array, neighbours: int) -> float:
    """1 minus the penalty for points that are neighbours in the embedding z and not in the plane x; 1 is perfect.

    Venna and Kaski 2001, "Neighborhood preservation in nonlinear projection methods".
    """
    return float(_trustworthiness(x, z, n_neighbors=neighbours))


def continuity(x: Array, z: Array, neighbours: int) -> float:
    """The same with the roles exchanged: the penalty is for neighbours in the plane x that the embedding z tears apart."""
    return float(_trustworthiness(z, x, n_neighbors=neighbours))
