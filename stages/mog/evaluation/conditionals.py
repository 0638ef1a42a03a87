"""What is measured of a method that predicts one coordinate from the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss

from stages.metrics.summary import figure
from stages.mog.evaluation import measure
from stages.mog.evaluation.model import Array, Subject, apply, values
from stages.nn.method import Densities

CURVE = 400
"""Points along a conditional density."""
SEEN = 500
"""Test points at which the embeddings are averaged over the hidden coordinate."""
NODES = 20
"""Values of the hidden coordinate in these averages, for each mode."""
INDEPENDENT = 1e-9
"""Nats of mutual information below which the coordinates are independent: rounding leaves as much."""


def conditional(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of a method that predicts from one coordinate."""
    x = subject.test["x"]
    predicted, log_density = [], []
    for hidden in (0, 1):
        visible = torch.ones(2, device=subject.device)
        visible[hidden] = 0
        predicted.append(apply(lambda p, v=visible: subject.trained.predict(p, v.expand(p.shape)), x, subject.device))
        if isinstance(subject.trained, Densities):
            log_density.append(
                values(lambda p, v=visible: subject.trained.log_density(p, v.expand(p.shape)), x, subject.device)
            )
    index = apply(subject.trained.embed, subject.train["x"], subject.device)
    train, test = subject.train["x"].astype(np.float64), x.astype(np.float64)
    k = subject.protocol.evaluation.readout_neighbours
    figures = measure.conditional(subject.mixture, train, index, test, predicted, k)
    for hidden in (0, 1) if abs(figures["mutual_information"]) > INDEPENDENT else ():
        best, independent = expected_embeddings(subject, test[:SEEN], hidden)
        error = measure.dependence_error(best, independent, predicted[hidden][:, :SEEN])
        figures[f"dependence_error_x{hidden}_given_x{1 - hidden}"] = figure(error)
    return {"conditional": figures | measure.likelihood(subject.mixture, test, log_density)}, _bimodal(
        subject, train, index[0], k
    )


def expected_embeddings(subject: Subject, points: Array, hidden: int) -> tuple[Array, Array]:
    """A point's embedding averaged over its hidden coordinate, by its law given the visible one and by its marginal law.

    Both laws are mixtures of normal densities, so both averages, (S, N, D), are sums of Gauss–Hermite quadratures:

        E[z] = Σ_k w_k Σ_j q_j z(μ_k + σ_k t_j)

    Args:
        subject: embeds, and has the mixture.
        points: (N, 2).
        hidden: the coordinate that is averaged over.
    """
    mixture = subject.mixture
    nodes, quadrature = hermegauss(NODES)

    def expected(weights: Array, means: Array, variances: Array) -> Array:
        """By weights and means (N, K) and variances (K,) of the hidden coordinate."""
        total = np.zeros(())
        for weight, mean, deviation in zip(weights.T, means.T, np.sqrt(variances), strict=True):
            at = np.repeat(points[:, None], NODES, 1)
            at[..., hidden] = mean[:, None] + deviation * nodes
            embedded = apply(subject.trained.embed, at.reshape(-1, 2), subject.device)
            embedded = embedded.reshape(subject.seeds, len(points), NODES, -1)
            total = total + np.einsum("n,j,snjd->snd", weight, quadrature / quadrature.sum(), embedded)
        return total

    shape = (len(points), len(mixture.weights))
    weights, means = (np.broadcast_to(part, shape) for part in (mixture.weights, mixture.means[:, hidden]))
    return (
        expected(*mixture.conditional(hidden, points[:, 1 - hidden])),
        expected(weights, means, mixture.covariances[:, hidden, hidden]),
    )


def _bimodal(subject: Subject, train: Array, index: Array, k: int) -> dict[str, Any]:
    """The conditional of x₀ where x₁ leaves most modes open: the truth, the first seed's prediction and density."""
    low, high = subject.described.box.x
    axis = np.linspace(low, high, CURVE)
    seen = subject.mixture.most_ambiguous(1, subject.grid_y)
    points = np.stack((axis, np.full(CURVE, seen)), -1)
    visible = torch.tensor([0.0, 1.0], device=subject.device)
    predicted = apply(lambda p: subject.trained.predict(p, visible.expand(p.shape)), points[:1], subject.device)[0]
    fields = {
        "conditional_seen": np.array(seen),
        "conditional_axis": axis,
        "conditional_true": np.exp(subject.mixture.conditional_log_density(0, points)),
        "conditional_mean": subject.mixture.conditional_mean(0, np.array([seen])),
        "conditional_point": measure.read_out(train[:, 0], index, predicted, k),
    }
    if isinstance(subject.trained, Densities):
        learned = values(lambda p: subject.trained.log_density(p, visible.expand(p.shape)), points, subject.device)[0]
        fields["conditional_density"] = np.exp(learned)
    return fields
