"""Metrics of methods that predict one coordinate of a point from the other.

Predicted embeddings are (S, N, D), float64, with the seeds as leading dimension; a metric has one value per seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.polynomial.hermite_e import hermegauss

from stages.metrics import neighbours
from stages.metrics.determination import r2
from stages.metrics.summary import over_seeds, rounded
from stages.mog.evaluation.model import Array, EvaluatedModel, apply, apply_scalar
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.method import HasConditionalDensity

CURVE = 400
"""Points along a conditional density."""
AVERAGED = 500
"""Test points at which embeddings are averaged over the hidden coordinate."""
NODES = 20
"""Gauss-Hermite nodes of these averages, for each mode."""
INDEPENDENT = 1e-9
"""Mutual information, in nats, below which the coordinates count as independent: the size of rounding errors."""


def evaluate_conditionals(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and fields of a method that predicts from one coordinate."""
    x = model.test["x"]
    predicted, log_density = [], []
    for hidden in (0, 1):
        visible = torch.ones(2, device=model.device)
        visible[hidden] = 0
        predicted.append(apply(lambda p, v=visible: model.trained.predict(p, v.expand(p.shape)), x, model.device))
        if isinstance(model.trained, HasConditionalDensity):
            log_density.append(
                apply_scalar(lambda p, v=visible: model.trained.log_density(p, v.expand(p.shape)), x, model.device)
            )
    index = apply(model.trained.embed, model.train["x"], model.device)
    train, test = model.train["x"].astype(np.float64), x.astype(np.float64)
    k = model.protocol.evaluation.readout_neighbours
    metrics = prediction_metrics(model.mixture, train, index, test, predicted, k)
    for hidden in (0, 1) if abs(metrics["mutual_information"]) > INDEPENDENT else ():
        best, independent = expected_embeddings(model, test[:AVERAGED], hidden)
        error = dependence_error(best, independent, predicted[hidden][:, :AVERAGED])
        metrics[f"dependence_error_x{hidden}_given_x{1 - hidden}"] = over_seeds(error)
    metrics |= likelihood_metrics(model.mixture, test, log_density)
    return {"conditional": metrics}, _bimodal(model, train, index[0], k)


def prediction_metrics(
    mixture: Mixture, train: Array, index: Array, test: Array, predicted: list[Array], k: int
) -> dict[str, Any]:
    """R² of a hidden coordinate that is read out of the predicted embedding of a point.

    The read-out is the mean of the hidden coordinate over the k training points whose embeddings are nearest to the predicted
    one. `ceiling` is R² of the analytic conditional mean, the best function of the visible coordinate. `ideal` is R² of the
    read-out at that mean, from the training points nearest to (E[x_h | x_v], x_v) in the plane. `mutual_information` of the
    two coordinates, in nats, bounds what can be learned.

    Args:
        mixture: of the points.
        train, test: points (N, 2) and (M, 2).
        index: embeddings of the training points, (S, N, D).
        predicted: for the hidden coordinate 0, then 1, predicted embeddings of the test points (S, M, D).
        k: neighbours in the read-out.
    """
    dependence = mixture.conditional_log_density(0, test) - mixture.marginal_log_density(0, test[:, 0])
    metrics: dict[str, Any] = {"mutual_information": rounded(dependence.mean())}
    for hidden in (0, 1):
        seen = 1 - hidden
        read = [read_out(train[:, hidden], a, b, k) for a, b in zip(index, predicted[hidden], strict=True)]
        name = f"r2_x{hidden}_given_x{seen}"
        metrics[name] = over_seeds([r2(test[:, hidden], one) for one in read])
        best = mixture.conditional_mean(hidden, test[:, seen])
        ideal = np.stack((best, test[:, seen])[:: 1 if hidden == 0 else -1], -1)
        metrics[f"{name}_ceiling"] = rounded(r2(test[:, hidden], best))
        metrics[f"{name}_ideal"] = rounded(r2(test[:, hidden], read_out(train[:, hidden], train, ideal, k)))
    return metrics


def dependence_error(best: Array, independent: Array, predicted: Array) -> Array:
    """The fraction of the dependence between the coordinates that a predicted embedding misses.

        E ‖ẑ − E[z | x_v]‖² / E ‖E_{x_h}[z | x_v] − E[z | x_v]‖²

    z is the embedding of the whole point; the expectation E_{x_h} is over the marginal density of the hidden coordinate. 0 for
    the best point prediction; 1 for a prediction from the visible coordinate and the marginal of the hidden one, without the
    dependence between the two.

    Args:
        best: E[z | x_v], (S, M, D).
        independent: E_{x_h}[z | x_v], (S, M, D).
        predicted: ẑ, (S, M, D).

    Returns:
        (S,); 1 if the embedding is constant in single precision, because it then shows no dependence.
    """
    missed, there = (np.square(found - best).sum(-1).mean(-1) for found in (predicted, independent))
    shown = there > (10 * np.finfo(np.float32).eps) ** 2 * np.square(best).sum(-1).mean(-1)
    return np.divide(missed, there, out=np.ones_like(missed), where=shown)


def read_out(values: Array, index: Array, predicted: Array, k: int) -> Array:
    """Mean of the values (N,) of the k points whose embeddings (N, D) are nearest to each predicted one (M, D): (M,)."""
    found = neighbours.knn_regress(torch.from_numpy(index), torch.from_numpy(values.copy()), torch.from_numpy(predicted), k)
    return np.asarray(found.numpy())


def likelihood_metrics(mixture: Mixture, test: Array, log_density: Sequence[Array]) -> dict[str, Any]:
    """Negative log-likelihood of each hidden coordinate, in nats, and its analytic `floor`.

    Args:
        mixture: of the points.
        test: points (N, 2).
        log_density: for the hidden coordinate 0, then 1, the learned log-densities of the test points (S, N); or nothing.
    """
    metrics: dict[str, Any] = {}
    for hidden, values in enumerate(log_density):
        name = f"nll_x{hidden}_given_x{1 - hidden}"
        metrics[name] = over_seeds(-values.mean(-1))
        metrics[f"{name}_floor"] = rounded(-mixture.conditional_log_density(hidden, test).mean())
    return metrics


def expected_embeddings(model: EvaluatedModel, points: Array, hidden: int) -> tuple[Array, Array]:
    """E[z | x_v] and E_{x_h}[z | x_v], the embedding averaged over the conditional and the marginal density of x_h.

    Both densities are mixtures of normals, so both averages are sums of Gauss-Hermite quadratures:

        E[z] = Σ_k w_k Σ_j q_j z(μ_k + σ_k t_j)

    Args:
        model: provides the embeddings and the mixture.
        points: (N, 2).
        hidden: the coordinate h that is averaged over.

    Returns:
        Two arrays (S, N, D).
    """
    mixture = model.mixture
    nodes, quadrature = hermegauss(NODES)

    def expected(weights: Array, means: Array, variances: Array) -> Array:
        """E[z] for weights and means (N, K) and variances (K,) of the hidden coordinate."""
        total = np.zeros(())
        for weight, mean, deviation in zip(weights.T, means.T, np.sqrt(variances), strict=True):
            at = np.repeat(points[:, None], NODES, 1)
            at[..., hidden] = mean[:, None] + deviation * nodes
            embedded = apply(model.trained.embed, at.reshape(-1, 2), model.device)
            embedded = embedded.reshape(model.seeds, len(points), NODES, -1)
            total = total + np.einsum("n,j,snjd->snd", weight, quadrature / quadrature.sum(), embedded)
        return total

    shape = (len(points), len(mixture.weights))
    weights, means = (np.broadcast_to(part, shape) for part in (mixture.weights, mixture.means[:, hidden]))
    return (
        expected(*mixture.conditional(hidden, points[:, 1 - hidden])),
        expected(weights, means, mixture.covariances[:, hidden, hidden]),
    )


def _bimodal(model: EvaluatedModel, train: Array, index: Array, k: int) -> dict[str, Any]:
    """The conditional of x₀ at the most ambiguous x₁: the truth, and the first seed's prediction and density."""
    low, high = model.described.box.x
    axis = np.linspace(low, high, CURVE)
    seen = model.mixture.most_ambiguous(1, model.grid_y)
    points = np.stack((axis, np.full(CURVE, seen)), -1)
    visible = torch.tensor([0.0, 1.0], device=model.device)
    predicted = apply(lambda p: model.trained.predict(p, visible.expand(p.shape)), points[:1], model.device)[0]
    fields = {
        "conditional_seen": np.array(seen),
        "conditional_axis": axis,
        "conditional_true": np.exp(model.mixture.conditional_log_density(0, points)),
        "conditional_mean": model.mixture.conditional_mean(0, np.array([seen])),
        "conditional_point": read_out(train[:, 0], index, predicted, k),
    }
    if isinstance(model.trained, HasConditionalDensity):
        learned = apply_scalar(lambda p: model.trained.log_density(p, visible.expand(p.shape)), points, model.device)[0]
        fields["conditional_density"] = np.exp(learned)
    return fields
