"""Metrics of critics on pairs of views, against their pointwise mutual information (PMI)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.metrics import score_error
from stages.metrics.determination import r2
from stages.metrics.ranks import spearman
from stages.metrics.summary import over_seeds
from stages.mog.evaluation.model import Array, EvaluatedModel
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.gradient import gradient
from stages.nn.losses import info_nce

PAIRS = 200
"""Views of which all pairs are kept for the scatter plot of a critic."""
LOWEST_PMI = -10.0
"""PMI, in nats, below which pairs are left out: their share of the softmax is negligible."""


def evaluate_critic(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and fields of a method with a critic."""
    second = model.settings["view"]["noise"]
    first = second if model.trained.both_noisy else 0.0

    def views(x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return (x + first * noise[1], x + second * noise[0])

    def truth(x: Tensor, other: Tensor) -> Array:
        a, b = x.cpu().double().numpy(), other.cpu().double().numpy()
        return model.mixture.pointwise_mutual_information(a[:, None], b[None], first, second)

    def learned(x: Tensor, other: Tensor) -> Array:
        with torch.no_grad():
            return model.trained.critic(x, other).cpu().double().numpy()

    excess = []
    for x, noise, _ in model.heldout_batches():
        pair = views(x, noise)
        optimum = info_nce(torch.from_numpy(truth(*pair)))
        excess.append((info_nce(torch.from_numpy(learned(*pair))) - optimum).numpy())
    few = slice(model.protocol.evaluation.structure_points)
    x, noise = (torch.from_numpy(a).to(model.device) for a in (model.test["x"][few], model.views["noise"][0][:, few]))
    pair = views(x, noise)
    found, true = learned(*pair), truth(*pair)
    metrics = critic_metrics(found, true) | {"excess_loss": over_seeds(np.mean(excess, 0))}
    a, b = (one.cpu().double().numpy() for one in pair)
    error = implied_score_error(_slope(model, *pair), model.mixture, a, b, first, second)
    metrics["implied_relative_fisher_error"] = over_seeds(error)
    few_true, kept = true[:PAIRS, :PAIRS], true[:PAIRS, :PAIRS] > LOWEST_PMI
    shown = {
        "critic_true": centred(few_true, kept),
        "critic_learned": centred(found[0, :PAIRS, :PAIRS], kept),
    }
    return {"critic": metrics}, shown


def critic_metrics(learned: Array, truth: Array) -> dict[str, Any]:
    """Agreement of critics with the PMI of all pairs of views.

    A critic is determined up to a function of the first view, so both are centred within each row. Pairs with a PMI below
    `LOWEST_PMI` are left out.

    Args:
        learned: critics (S, N, M).
        truth: PMI (N, M), in nats.
    """
    kept = truth > LOWEST_PMI
    true = centred(truth, kept)
    found = [centred(one, kept) for one in learned]
    explained = np.array([r2(true, one) for one in found])
    return {
        "r2_pmi": over_seeds(explained),
        "unexplained_pmi": over_seeds(1 - explained),
        "spearman_pmi": over_seeds([spearman(one, true) for one in found]),
    }


def centred(values: Array, kept: NDArray[np.bool_]) -> Array:
    """The kept entries of values (N, M), minus their mean in the same row, flattened."""
    mean = np.where(kept, values, 0).sum(-1, keepdims=True) / np.maximum(kept.sum(-1, keepdims=True), 1)
    return np.asarray((values - mean)[kept])


def implied_score_error(slope: Array, mixture: Mixture, x: Array, other: Array, first: float, second: float) -> Array:
    """The relative Fisher divergence of the score that a critic implies.

        s(x') = ∇ log p(x' | x) − ∂c(x, x')/∂x',    E ‖s − ∇ log p‖² / E ‖∇ log p‖²

    over pairs of views. If the critic is the PMI log [p(x' | x) / p(x')], then s is the score of the second view's density; so
    the error of s is that of ∂c/∂x'.

    Args:
        slope: ∂c/∂x' at the pairs, (S, N, d).
        mixture: of the clean points.
        x, other: the pairs of views x and x', (N, d) each.
        first, second: standard deviations of their noise, in units of x.

    Returns:
        (S,).
    """
    step = 1e-4

    def pmi(second_view: Array) -> Array:
        return mixture.pointwise_mutual_information(x, second_view, first, second)

    differences = [pmi(other + axis) - pmi(other - axis) for axis in step * np.eye(x.shape[-1])]
    true = mixture.smoothed(second).score(other)
    implied = true + np.stack(differences, -1) / (2 * step) - slope
    return score_error.relative_error(implied, true)


def _slope(model: EvaluatedModel, x: Tensor, other: Tensor) -> Array:
    """∂c(x, x')/∂x' at pairs of views (N, d), as (S, N, d)."""

    def of_pairs(second: Tensor, first: Tensor) -> Tensor:
        values: Tensor = model.trained.critic(first, second)
        return values.diagonal(dim1=-2, dim2=-1)

    slopes = [
        gradient(partial(of_pairs, first=one), two, copies=model.seeds, create_graph=False)
        for one, two in zip(x.split(PAIRS), other.split(PAIRS), strict=True)
    ]
    return torch.cat(slopes, -2).cpu().double().numpy()
