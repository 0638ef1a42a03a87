"""Has the embedding collapsed?

Three figures of embeddings z (S, N, D), each (S,). No single one sees every collapse: the total variance misses a collapse of
direction that a growing norm hides, the normalised standard deviation and RankMe miss a collapse of scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.metrics.summary import figure

Array = NDArray[np.float64]


def total_variance(z: Array) -> Array:
    """Tr Cov(z) = Σ_d Var(z_d): the squared size of the cloud of embeddings."""
    return np.asarray(z.var(-2).sum(-1))


def normalise(z: Array) -> Array:
    """Z / ‖z‖ along the last axis; a zero vector stays zero."""
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12))


def normalised_std(z: Array) -> Array:
    """√D · mean_d std(z_d / ‖z‖): 1 when the directions are uniform on the sphere, 0 when there is only one.

    Chen and He 2021, "Exploring simple siamese representation learning", arXiv 2011.10566, figure 2.
    """
    return np.asarray(normalise(z).std(-2).mean(-1) * np.sqrt(z.shape[-1]))


def rankme(z: Array) -> Array:
    """The effective rank exp(− Σ_k p_k log p_k), p_k = σ_k / Σ σ, of the singular values σ of z; from 1 to D.

    Garrido et al. 2022, "RankMe", arXiv 2210.02885, eq. 1.
    """
    singular = np.linalg.svd(z, compute_uv=False)
    p = singular / np.maximum(singular.sum(-1, keepdims=True), 1e-300) + 1e-12
    return np.asarray(np.exp(-(p * np.log(p)).sum(-1)))


def report(z: Array, untrained: Array, *, bounds: Mapping[str, float]) -> dict[str, Any]:
    """The three figures of embeddings z (S, N, D), the variance as its ratio to that of untrained ones, and a verdict.

    Collapsed is where EITHER `variance_ratio` or `normalised_std`, as means over seeds, is below its bound; `collapsed_seeds`
    counts the seeds of which that holds.
    """
    ratio, spread = total_variance(z) / total_variance(untrained), normalised_std(z)
    below = (ratio < bounds["variance_ratio"]) | (spread < bounds["normalised_std"])
    return {
        "variance_ratio": figure(ratio),
        "normalised_std": figure(spread),
        "rankme": figure(rankme(z)),
        "collapsed": bool(ratio.mean() < bounds["variance_ratio"] or spread.mean() < bounds["normalised_std"]),
        "collapsed_seeds": int(below.sum()),
    }
