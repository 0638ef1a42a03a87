"""Has the embedding collapsed?

Three metrics of embeddings z (S, N, D), each (S,). No single one detects every collapse: the total variance misses a collapse
of direction while the norm grows; the normalised standard deviation and RankMe miss a collapse of scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.metrics.summary import over_seeds

Array = NDArray[np.float64]


def total_variance(z: Array) -> Array:
    """The total variance tr Cov(z) = Σ_d Var(z_d)."""
    return np.asarray(z.var(-2).sum(-1))


def normalise(z: Array) -> Array:
    """L2-normalised vectors z / ‖z‖ along the last axis; a zero vector stays zero."""
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12))


def normalised_std(z: Array) -> Array:
    """√D · mean_d std(z_d / ‖z‖): 1 for normalised embeddings uniform on the sphere, 0 for a constant one.

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


def report(z: Array, untrained: Array, *, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """The three metrics of embeddings z (S, N, D), with the variance relative to that of untrained ones, and the verdict.

    `collapsed` is true if `variance_ratio` or `normalised_std`, averaged over seeds, is below its threshold; `collapsed_seeds`
    is the number of seeds with either below.
    """
    ratio, spread = total_variance(z) / total_variance(untrained), normalised_std(z)
    below = (ratio < thresholds["variance_ratio"]) | (spread < thresholds["normalised_std"])
    return {
        "variance_ratio": over_seeds(ratio),
        "normalised_std": over_seeds(spread),
        "rankme": over_seeds(rankme(z)),
        "collapsed": bool(ratio.mean() < thresholds["variance_ratio"] or spread.mean() < thresholds["normalised_std"]),
        "collapsed_seeds": int(below.sum()),
    }
