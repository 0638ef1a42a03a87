"""What is measured of a method on the mixture: one function per group of figures in reports/metrics/mog/METHOD.json.

Arrays are float64 numpy; embeddings and scores have the seeds as their leading dimension, and so have the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.metrics import collapse, hypersphere, neighbours, sampling, score_error, structure
from stages.metrics.measured import figure, rounded
from stages.mog.mixture import Mixture

Array = NDArray[np.float64]
Group = dict[str, Any]
COMPARED = 2000
"""Samples that are held against exact ones pair by pair."""
HOPELESS = -10.0
"""Nats of pointwise mutual information below which a pair of views is not looked at."""


def geometry(x: Array, z: Array, neighbours: int) -> Group:
    """How well the embeddings z (S, N, D) keep the distances and neighbourhoods of the points x (N, 2).

    `direction_spearman` is the rank correlation for the directions z / ‖z‖, which are all that a cosine loss sees.
    """
    return {
        "distance_spearman": figure([structure.distance_spearman(x, one) for one in z]),
        "direction_spearman": figure([structure.distance_spearman(x, one) for one in collapse.normalise(z)]),
        "trustworthiness": figure([structure.trustworthiness(x, one, neighbours) for one in z]),
        "continuity": figure([structure.continuity(x, one, neighbours) for one in z]),
    }


def component_accuracy(
    train: Array, train_component: NDArray[np.int64], test: Array, test_component: NDArray[np.int64], k: int
) -> list[float]:
    """Accuracy of k-NN in telling the components apart, for each of the S embeddings (S, N, D)."""
    labels = torch.from_numpy(train_component)
    return [
        float((neighbours.knn_classify(torch.from_numpy(a), labels, torch.from_numpy(b), k).numpy() == test_component).mean())
        for a, b in zip(train, test, strict=True)
    ]


def spread(z: Array, second_view: Array) -> Group:
    """Alignment of two views and uniformity of the first."""
    return {
        "alignment": figure(hypersphere.alignment(z, second_view)),
        "uniformity": figure(hypersphere.uniformity(z)),
    }


def conditional(mixture: Mixture, train: Array, index: Array, test: Array, predicted: list[Array], k: int) -> Group:
    """How much of a hidden coordinate the predicted embedding of a point knows, as R² on the test points.

    The hidden coordinate is read out as the mean over the k training points whose own embeddings lie nearest to the predicted
    one. The ceiling is R² of the analytic conditional mean: no function of the visible coordinate does better.

    Args:
        train, test: points (N, 2).
        index: embeddings of the training points, (S, N, D).
        predicted: for the hidden coordinate 0, then 1, the predicted embeddings of the test points (S, M, D).
        k: neighbours that are averaged.
    """
    group: Group = {}
    for hidden in (0, 1):
        seen = 1 - hidden
        read = [read_out(train[:, hidden], a, b, k) for a, b in zip(index, predicted[hidden], strict=True)]
        name = f"r2_x{hidden}_given_x{seen}"
        group[name] = figure([_r2(test[:, hidden], one) for one in read])
        group[f"{name}_ceiling"] = rounded(_r2(test[:, hidden], mixture.conditional_mean(hidden, test[:, seen])))
    return group


def read_out(values: Array, index: Array, predicted: Array, k: int) -> Array:
    """The mean of the values (N,) of the k points whose embeddings (N, D) lie nearest to each predicted one (M, D): (M,)."""
    found = neighbours.knn_regress(torch.from_numpy(index), torch.from_numpy(values.copy()), torch.from_numpy(predicted), k)
    return np.asarray(found.numpy())


def likelihood(mixture: Mixture, test: Array, log_density: Sequence[Array]) -> Group:
    """Negative log-likelihood of each hidden coordinate of the test points, in nats, beside its analytic floor.

    Args:
        mixture: the truth.
        test: points (N, 2).
        log_density: for the hidden coordinate 0, then 1, the learned log-densities of the test points (S, N); or nothing.
    """
    group: Group = {}
    for hidden, values in enumerate(log_density):
        name = f"nll_x{hidden}_given_x{1 - hidden}"
        group[name] = figure(-values.mean(-1))
        group[f"{name}_floor"] = rounded(-mixture.conditional_log_density(hidden, test).mean())
    return group


def centred(values: Array, kept: NDArray[np.bool_]) -> Array:
    """The kept ones of values (N, M), less the mean of those in their row, in one dimension."""
    mean = np.where(kept, values, 0).sum(-1, keepdims=True) / np.maximum(kept.sum(-1, keepdims=True), 1)
    return np.asarray((values - mean)[kept])


def critic(learned: Array, truth: Array) -> Group:
    """How a critic (S, N, M) on all pairs of views compares with their pointwise mutual information (N, M).

    A critic is fixed up to a function of the first view, so both are centred within each row. Pairs with a mutual information
    below `HOPELESS` are left out: they hardly occur and no softmax sees them.
    """
    kept = truth > HOPELESS
    true = centred(truth, kept)
    found = [centred(one, kept) for one in learned]
    return {
        "r2_pmi": figure([_r2(true, one) for one in found]),
        "spearman_pmi": figure([score_error.spearman(one, true) for one in found]),
    }


def _r2(true: Array, predicted: Array) -> float:
    return float(1 - ((true - predicted) ** 2).mean() / true.var())


def score(density: Mixture, learned: Callable[[Array], Array], count: int, rng: np.random.Generator) -> Group:
    """The error of a learned score on `count` fresh points from the smoothed density it is to know."""
    points, _ = density.sample(count, rng)
    error = score_error.relative_fisher_error(learned(points), density.score(points))
    return {"relative_fisher_error": figure(error)}


def energy(density: Mixture, energies: Array, grid_x: Array, grid_y: Array) -> Group:
    """How a learned energy (S, H, W) on the grid compares with − log p_σ: inside the modes and between them."""
    nodes = np.stack(np.meshgrid(grid_x, grid_y), -1)
    log_density = density.log_density(nodes)
    inside = log_density > log_density.max() + np.log(score_error.SUPPORT)
    mode = density.component_log_density(nodes).argmax(-1)
    rows = np.abs(density.means[:, 1, None] - grid_y).argmin(-1)
    columns = np.abs(density.means[:, 0, None] - grid_x).argmin(-1)
    return {
        "energy_spearman_within_modes": figure(
            [score_error.spearman_within_modes(e.ravel(), log_density.ravel(), mode.ravel()) for e in energies]
        ),
        "energy_spearman_support": figure([score_error.spearman(e[inside], -log_density[inside]) for e in energies]),
        "energy_spearman_box": figure([score_error.spearman(e.ravel(), -log_density.ravel()) for e in energies]),
        "energy_gap_error": figure([score_error.gap_error(e[rows, columns], log_density[rows, columns]) for e in energies]),
    }


def sample_quality(density: Mixture, samples: Array, rng: np.random.Generator, projections: int = 64) -> Group:
    """How samples (S, N, 2) compare with as many exact ones of the density they are meant to come from.

    The two distances take at most `COMPARED` samples, since all pairs of them enter.
    """
    few = samples[:, :COMPARED]
    exact, _ = density.sample(few.shape[1], rng)
    directions = sampling.unit_directions(projections)
    return {
        "mode_weight_tv": figure([sampling.mode_weight_tv(density.responsibilities(s), density.weights) for s in samples]),
        "energy_distance": figure([sampling.energy_distance(s, exact) for s in few]),
        "sliced_wasserstein": figure([sampling.sliced_wasserstein(s, exact, directions) for s in few]),
    }
