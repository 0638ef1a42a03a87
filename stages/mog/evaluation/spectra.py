"""Metrics of joint embeddings against the eigenfunctions of the positive pairs' operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.metrics import spectrum
from stages.metrics.collapse import normalise
from stages.metrics.summary import over_seeds, rounded
from stages.mog.evaluation.model import Array, EvaluatedModel, apply
from stages.mog.problem.spectrum import COUNT, LOWEST, PairOperator, pair_operator
from stages.nn.method import HasSpectralLoss


def evaluate_spectrum(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of a joint-embedding method against the operator of two views with the noise of its own, `spectrum_metrics`.

    That is so too for methods whose first view is the clean point; a method without noisy views is compared with the operator
    for `evaluation.view_noise`. There are no metrics if the operator needs too many nodes (`spectrum.MAX_NODES`).
    """
    noise = view_noise(model)
    operator = pair_operator(model.mixture, noise)
    if len(operator.nodes) <= COUNT:
        return {}, {}
    after, before = (_at_nodes(model, method, operator) for method in (model.trained, model.untrained))
    modes = len(model.mixture.weights)
    spectral = isinstance(model.trained, HasSpectralLoss) and model.trained.factorises_operator
    found = spectrum_metrics(operator, after, before, modes, spectral=spectral)
    return {"spectrum": {"view_noise": noise, **found}}, {}


def spectrum_metrics(operator: PairOperator, after: Array, before: Array, modes: int, *, spectral: bool) -> dict[str, Any]:
    """How well embeddings span the eigenfunctions ψ_1 … ψ_16 of the positive pairs.

    - `eigenvalue_k` and `r2_k`: λ_k, and R² of ψ_k regressed linearly on the embedding.
    - `global_r2`: mean R² of the first K − 1, which distinguish the K modes if these are separated; `local_r2`: of the 2K that
      follow, functions within the modes. They are absent where there is no such eigenfunction among the first 16.
    - `captured` of `captured_best`: the trace of the operator in the best subspace of D dimensions, and Σ_{k<D} λ_k.
    - `excess_loss`: the spectral contrastive loss above its minimum.

    `…_untrained` is the value before training, and `delta_…` the difference, seed by seed.

    Args:
        operator: of the positive pairs.
        after, before: the embedding at the nodes as the loss sees it, after and before training, (S, N, D).
        modes: K.
        spectral: whether the method minimises the spectral contrastive loss.
    """
    dim = min(after.shape[-1], len(operator.nodes) - 1)
    values, functions = operator.eigenpairs(max(COUNT, dim))
    count = int((values[:COUNT] > LOWEST).sum())
    bases = [[spectrum.span(z, operator.measure) for z in each] for each in (after, before)]
    shown = functions[1:count]
    r2 = [np.array([spectrum.explained(basis, shown, operator.measure) for basis in each]) for each in bases]
    captured = [np.array([spectrum.captured_trace(basis, operator.matrix, dim) for basis in each]) for each in bases]
    metrics: dict[str, Any] = {f"eigenvalue_{k}": rounded(values[k]) for k in range(1, count)}
    for k in range(1, count):
        metrics |= _compared(f"r2_{k}", r2[0][:, k - 1], r2[1][:, k - 1])
    parts = {"global_r2": slice(0, modes - 1), "local_r2": slice(modes - 1, 3 * modes - 1)}
    for name, part in parts.items():
        if part.start < part.stop < count:
            metrics |= _compared(name, r2[0][:, part].mean(-1), r2[1][:, part].mean(-1))
    metrics |= _compared("captured", *captured) | {"captured_best": rounded(values[:dim].sum())}
    if spectral:
        excess = [spectrum.spectral_excess(z, operator.measure, operator.matrix, values[:dim]) for z in after]
        metrics["excess_loss"] = over_seeds(excess)
    return metrics


def view_noise(model: EvaluatedModel) -> float:
    """The noise level s of the method's views, in units of x."""
    return float(model.settings.get("view", {}).get("noise", model.protocol.evaluation.view_noise))


def _at_nodes(model: EvaluatedModel, method: Any, operator: PairOperator) -> Array:
    """The embedding at the operator's nodes as the loss sees it, (S, N, D)."""
    z = apply(method.embed, operator.nodes, model.device)
    return normalise(z) if method.cosine else z


def _compared(name: str, after: Array, before: Array) -> dict[str, Any]:
    return {
        name: over_seeds(after),
        f"{name}_untrained": over_seeds(before),
        f"delta_{name}": over_seeds(after - before),
    }
