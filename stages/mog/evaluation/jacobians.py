"""JEPA-SCORE: does the volume that an encoder gives to a neighbourhood tell its density?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.metrics.ranks import spearman
from stages.metrics.score_error import spearman_within_modes
from stages.metrics.summary import over_seeds
from stages.mog.evaluation.model import EvaluatedModel, apply_scalar
from stages.nn.gradient import gradient

RESOLVED = 1e-6
"""Singular values below this fraction of the largest one are rounding errors of single precision and count as this fraction."""


def evaluate_jacobian(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rank correlations of JEPA-SCORE with log p on the test points, trained and untrained.

        JEPA-SCORE(x) = Σ_k log σ_k(J_f(x)) = ½ log det J_fᵀ J_f

    If f is injective with D = d, log p(x) = log p_z(f(x)) + log |det J_f|: where the density p_z of the embeddings is constant,
    the score is log p up to a constant. For D > d that is a heuristic. `spearman` is over all test points,
    `spearman_within_modes` within each mode's basin, averaged over the modes. f is the embedding as the loss sees it. There are
    no metrics if that has fewer dimensions than x, as on a circle.

    Balestriero et al. 2025, "Gaussian embeddings: how JEPAs secretly learn your data density", arXiv 2510.05949.
    """
    x = model.test["x"].astype(np.float64)
    with torch.no_grad():
        dim = model.trained.embed(torch.from_numpy(model.test["x"][:1]).to(model.device)).shape[-1]
    if dim - model.trained.cosine < x.shape[-1]:
        return {}, {}
    log_density = model.mixture.log_density(x)
    mode = model.mixture.component_log_density(x).argmax(-1)
    metrics: dict[str, Any] = {}
    fields: dict[str, Any] = {"jepa_score_log_density": log_density}
    overall, within = {}, {}
    for suffix, method in (("", model.trained), ("_untrained", model.untrained)):
        scores = apply_scalar(log_volume(_seen_by_loss(method)), x, model.device)
        overall[suffix] = np.array([spearman(score, log_density) for score in scores])
        within[suffix] = np.array([spearman_within_modes(-score, log_density, mode) for score in scores])
        fields[f"jepa_score{suffix}"] = scores[0]
    for name, values in (("spearman", overall), ("spearman_within_modes", within)):
        metrics |= {f"{name}{suffix}": over_seeds(each) for suffix, each in values.items()}
        metrics[f"delta_{name}"] = over_seeds(values[""] - values["_untrained"])
    return {"jepa_score": metrics}, fields


def _seen_by_loss(method: Any) -> Callable[[Tensor], Tensor]:
    return (lambda x: F.normalize(method.embed(x), dim=-1)) if method.cosine else method.embed


def log_volume(embed: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function x ↦ ½ log det J_fᵀ J_f of a map f to (S, B, D), from points (B, d) to (S, B), by D backward passes.

    It is −∞ where the Jacobian is 0.
    """

    def function(x: Tensor) -> Tensor:
        copies, _, dim = embed(x).shape
        rows = [gradient(partial(_coordinate, embed, k), x, copies=copies, create_graph=False) for k in range(dim)]
        values = torch.linalg.svdvals(torch.stack(rows, -2).double())
        return values.maximum(RESOLVED * values[..., :1]).log().sum(-1)

    return function


def _coordinate(embed: Callable[[Tensor], Tensor], k: int, x: Tensor) -> Tensor:
    return embed(x)[..., k]
