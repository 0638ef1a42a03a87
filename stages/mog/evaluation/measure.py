"""What is measured of a method on the mixture: one function per group of figures in reports/metrics/mog/METHOD.json.

Arrays are float64 numpy; embeddings and scores have the seeds as their leading dimension, and so have the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.metrics import collapse, hypersphere, neighbours, sampling, score_error, structure
from stages.metrics.energy_wells import well_auc
from stages.metrics.ranks import spearman
from stages.metrics.summary import figure, rounded
from stages.mog.evaluation.langevin import Region
from stages.mog.problem.gaussian_mixture import Mixture

Array = NDArray[np.float64]
Group = dict[str, Any]
COMPARED = 2000
"""Samples that are held against exact ones pair by pair."""
REFERENCES = 100
"""Points that each take their turn as the reference of a cosine energy."""
CHUNK = 2**17
"""Points at which scores are held against each other at once: bounds the memory."""
ROOM = 0.01
"""Advantage of the true score over a guess, below which there is no saying how much of it a learned one has."""
HOPELESS = -10.0
"""Nats of pointwise mutual information below which a pair of views is not looked at."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings (S, N, D) of the training and the test points, and the components that the points came from, (N,)."""

    train: Array
    test: Array
    train_component: NDArray[np.int64]
    test_component: NDArray[np.int64]


def geometry(x: Array, z: Array, untrained: Array, k: int, cosine: bool) -> Group:
    """How well the embeddings z (S, N, D) keep the distances and neighbourhoods of the points x (N, 2).

    `direction_spearman` is the rank correlation for the directions z / ‖z‖, which are all that a cosine loss sees.
    `distance_lift` is by how much the rank correlation that the loss sees exceeds the one before training.
    """
    plane = structure.distance_ranks(x)

    def kept(embeddings: Array) -> list[float]:
        return [structure.correlation(plane, structure.distance_ranks(one)) for one in embeddings]

    straight = [kept(embeddings) for embeddings in (z, untrained)]
    turned = [kept(collapse.normalise(embeddings)) for embeddings in (z, untrained)]
    after, before = np.array(turned if cosine else straight)
    return {
        "distance_spearman": figure(straight[0]),
        "distance_spearman_untrained": figure(straight[1]),
        "direction_spearman": figure(turned[0]),
        "direction_spearman_untrained": figure(turned[1]),
        "distance_lift": figure(after - before),
        "trustworthiness": figure([structure.trustworthiness(x, one, k) for one in z]),
        "continuity": figure([structure.continuity(x, one, k) for one in z]),
    }


def clusters(mixture: Mixture, points: Embeddings, seen: Embeddings, untrained: Embeddings, few: int, k: int) -> Group:
    """How well the components can be told apart, and how far apart they lie, in what the loss sees of the embeddings.

    `knn_lift_raw` and `knn_lift_untrained` are what the accuracy exceeds that on the points themselves and before training by.
    One component alone has no silhouette.
    """
    labels = (points.train_component, points.test_component)

    def accuracy(e: Embeddings) -> Array:
        return np.array(component_accuracy(e.train, labels[0], e.test, labels[1], k))

    def silhouette(e: Embeddings) -> list[float]:
        return [structure.silhouette(one[:few], labels[1][:few]) for one in e.test]

    after, raw, before = accuracy(seen), accuracy(points), accuracy(untrained)
    which = {"silhouette": seen, "silhouette_raw": points, "silhouette_untrained": untrained}
    return {
        "knn_accuracy": figure(after),
        "knn_accuracy_raw": figure(raw),
        "knn_accuracy_untrained": figure(before),
        "knn_lift_raw": figure(after - raw),
        "knn_lift_untrained": figure(after - before),
        "bayes_accuracy": figure(mixture.bayes_accuracy(points.test[0], labels[1])),
        **{name: figure(silhouette(e)) for name, e in which.items() if len(mixture.weights) > 1},
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


def wells(z: Array, component: NDArray[np.int64], empty: Array) -> tuple[list[float], list[float]]:
    """The well of the energy − cos(z(x), z(r)) around the data of r's component, averaged over references r, each (S,).

    First how well the energy tells that data from empty space (`well_auc`), which is blind to the scale; second the depth, the
    mean energy of empty space less that of the data, which a collapse takes away.

    Args:
        z: embeddings (S, N, D) of points from the data; the first `REFERENCES` of them take their turn as r.
        component: where the points came from, (N,).
        empty: embeddings (S, M, D) of places where there is hardly any data.
    """
    areas, depths = [], []
    for data, elsewhere in zip(collapse.normalise(z), collapse.normalise(empty), strict=True):
        references = data[:REFERENCES]
        energies = zip(-(references @ data.T), -(references @ elsewhere.T), component, strict=False)
        pairs = [(here[component == k], there) for here, there, k in energies]
        areas.append(float(np.mean([well_auc(here, there) for here, there in pairs])))
        depths.append(float(np.mean([there.mean() - here.mean() for here, there in pairs])))
    return areas, depths


def conditional(mixture: Mixture, train: Array, index: Array, test: Array, predicted: list[Array], k: int) -> Group:
    """How much of a hidden coordinate the predicted embedding of a point knows, as R² on the test points.

    The hidden coordinate is read out as the mean over the k training points whose own embeddings lie nearest to the predicted
    one. The ceiling is R² of the analytic conditional mean: no function of the visible coordinate does better. `ideal` is what
    the read-out makes of that mean: the points nearest to (E[x_h | x_v], x_v) in the plane itself. The mutual
    information of the two coordinates, in nats, says how much there is to know.

    Args:
        train, test: points (N, 2).
        index: embeddings of the training points, (S, N, D).
        predicted: for the hidden coordinate 0, then 1, the predicted embeddings of the test points (S, M, D).
        k: neighbours that are averaged.
    """
    dependence = mixture.conditional_log_density(0, test) - mixture.marginal_log_density(0, test[:, 0])
    group: Group = {"mutual_information": rounded(dependence.mean())}
    for hidden in (0, 1):
        seen = 1 - hidden
        read = [read_out(train[:, hidden], a, b, k) for a, b in zip(index, predicted[hidden], strict=True)]
        name = f"r2_x{hidden}_given_x{seen}"
        group[name] = figure([_r2(test[:, hidden], one) for one in read])
        best = mixture.conditional_mean(hidden, test[:, seen])
        ideal = np.stack((best, test[:, seen])[:: 1 if hidden == 0 else -1], -1)
        group[f"{name}_ceiling"] = rounded(_r2(test[:, hidden], best))
        group[f"{name}_ideal"] = rounded(_r2(test[:, hidden], read_out(train[:, hidden], train, ideal, k)))
    return group


def dependence_error(best: Array, independent: Array, predicted: Array) -> Array:
    """What a predicted embedding misses of the dependence of one coordinate on the other.

        E ‖ẑ − E[z | x_v]‖² / E ‖E_{x_h}[z | x_v] − E[z | x_v]‖²

    z is the embedding of the whole point. The inner mean of the denominator is over the marginal law of the hidden coordinate.
    So it is 0 for the best point prediction there is, and 1 for one that knows the coordinate it sees and the law of the hidden
    one, but not what the first says about the second.

    Args:
        best: E[z | x_v] at the points seen, (S, M, D).
        independent: the mean of z over the marginal law of the hidden coordinate, (S, M, D).
        predicted: ẑ, (S, M, D).

    Returns:
        One error per seed, (S,); 1 where the embedding is constant, in single precision: it shows nothing of a dependence.
    """
    missed, there = (np.square(found - best).sum(-1).mean(-1) for found in (predicted, independent))
    shown = there > (10 * np.finfo(np.float32).eps) ** 2 * np.square(best).sum(-1).mean(-1)
    return np.divide(missed, there, out=np.ones_like(missed), where=shown)


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
    r2 = np.array([_r2(true, one) for one in found])
    return {
        "r2_pmi": figure(r2),
        "unexplained_pmi": figure(1 - r2),
        "spearman_pmi": figure([spearman(one, true) for one in found]),
    }


def _r2(true: Array, predicted: Array) -> float:
    return float(1 - ((true - predicted) ** 2).mean() / true.var())


def score(density: Mixture, learned: Callable[[Array], Array], count: int, rng: np.random.Generator) -> Group:
    """The error of a learned score on `count` fresh points from the smoothed density it is to know."""
    points, _ = density.sample(count, rng)
    error = score_error.relative_fisher_error(learned(points), density.score(points))
    return {"relative_fisher_error": figure(error)}


def denoising(
    mixture: Mixture,
    sigma: float,
    loss: Callable[[Array, Array], Array],
    learned: Callable[[Array], Array],
    count: int,
    rng: np.random.Generator,
) -> Group:
    """By how much a method's denoising loss exceeds that of the analytic score, on common draws, (S,).

        L(s_θ) − L(s_σ) = E ‖s_θ(x̃) − s_σ(x̃)‖²,    L(s) = E ‖s(x̃) + ε/σ‖²,    x̃ = x + σε

    The right side is `score_error` on the same draws. The two agree for any s_θ if the method's loss is this one and s_σ, hence
    the floor L(s_σ), is the score of its minimiser.

    Args:
        mixture: of the clean points.
        sigma: σ.
        loss: the method's own, from points and noise (N, 2) to (S,); it takes each noise with both signs.
        learned: s_θ, from points (N, 2) to (S, N, 2).
        count: how many draws of x and ε.
        rng: gives them.
    """
    density = mixture.smoothed(sigma)
    sums = []
    for start in range(0, count, CHUNK):
        x, _ = mixture.sample(min(CHUNK, count - start), rng)
        noise = rng.standard_normal(x.shape)
        excess, error = loss(x, noise), np.zeros(1)
        for signed in (noise, -noise):
            noisy = x + sigma * signed
            found, true = learned(noisy), density.score(noisy)
            excess = excess - ((true + signed / sigma) ** 2).sum(-1).mean() / 2
            error = error + ((found - true) ** 2).sum(-1).mean(-1) / 2
        sums.append((excess * len(x), error * len(x)))
    excess, error = np.sum(sums, 0) / count
    return {"excess_loss": figure(excess), "score_error": figure(error), "excess_over_error": figure(excess / error)}


def implied_score(learned: Array, mixture: Mixture, x: Array, other: Array, first: float, second: float) -> Group:
    """The relative Fisher error of the score that a critic implies, (S,).

        s(x') = ∇ log p(x' | x) − ∂c(x, x')/∂x',    E ‖s − ∇ log p‖² / E ‖∇ log p‖²

    over pairs of views. A critic that is the mutual information log p(x' | x)/p(x') implies the score of the second view's
    density; the error of the one is that of the other's derivative.

    Args:
        learned: ∂c/∂x' of the pairs, (S, N, 2).
        mixture: of the clean points.
        x, other: the pairs of views (N, 2).
        first, second: the standard deviations of their noise.
    """
    step = 1e-4
    differences = [
        mixture.mutual_information(x, other + axis, first, second) - mixture.mutual_information(x, other - axis, first, second)
        for axis in step * np.eye(x.shape[-1])
    ]
    true = mixture.smoothed(second).score(other)
    implied = true + np.stack(differences, -1) / (2 * step) - learned
    return {"implied_score_error": figure(score_error.relative_fisher_error(implied, true))}


def directions(density: Mixture, learned: Array, true: Array, nodes: Array) -> Group:
    """Where the arrows of a learned score (S, N, 2) point at the nodes (N, 2) of the grid.

    `direction_support` and `direction_outside`: their mean cosine to the true score (N, 2) where p_σ is above and below
    `SUPPORT` times its maximum. `clusterward`: the share of nodes at which following the arrow comes closer to the mean of the
    clusters, weighted by the probability that the node belongs to each. Where no node is outside there is no
    `direction_outside`.

    How much these say depends on the mixture. `…_guess` is the better of what two guesses get that know the modes but not the
    score: the score of one Gaussian with the mixture's mean and covariance, and the way to the nearest mean. `…_gain` is by how
    much the learned score is better than that, as a share of the true score's advantage: 1 for the truth, 0 for the guess.
    Where that advantage is less than `ROOM` there is no gain to measure.
    """
    log_density = density.log_density(nodes)
    inside = log_density > log_density.max() + np.log(score_error.SUPPORT)
    towards = density.responsibilities(nodes) @ density.means - nodes
    directed = collapse.normalise(true)

    def cosine(arrows: Array, where: NDArray[np.bool_]) -> Array:
        return np.asarray((collapse.normalise(arrows) * directed).sum(-1)[..., where].mean(-1))

    def clusterward(arrows: Array) -> Array:
        return np.asarray(((arrows * towards).sum(-1) > 0).mean(-1))

    def beyond_guess(name: str, measure: Callable[[Array], Array]) -> Group:
        found, guess = measure(learned), measure(guesses).max()
        room = measure(true) - guess
        group = {name: figure(found), f"{name}_guess": rounded(guess)}
        return group | ({f"{name}_gain": figure((found - guess) / room)} if room > ROOM else {})

    guesses = np.stack(_guesses(density, nodes))
    return {
        "direction_support": figure(cosine(learned, inside)),
        **({} if inside.all() else beyond_guess("direction_outside", lambda arrows: cosine(arrows, ~inside))),
        **beyond_guess("clusterward", clusterward),
    }


def _guesses(density: Mixture, nodes: Array) -> tuple[Array, Array]:
    """The score of one Gaussian with the mixture's mean and covariance, and the way to the nearest mean, at nodes (N, 2)."""
    mean = density.weights @ density.means
    apart = density.means - mean
    covariance = np.tensordot(density.weights, density.covariances + apart[:, :, None] * apart[:, None], 1)
    nearest = ((nodes[:, None] - density.means) ** 2).sum(-1).argmin(-1)
    return (mean - nodes) @ np.linalg.inv(covariance), density.means[nearest] - nodes


def energy(density: Mixture, energies: Array, grid_x: Array, grid_y: Array) -> Group:
    """How a learned energy (S, H, W) on the grid compares with − log p_σ: inside the modes and between them.

    Where the box has no empty space, as at a large σ, there is no `energy_auc`, and of one mode no `energy_gap_error`.
    """
    nodes = np.stack(np.meshgrid(grid_x, grid_y), -1)
    log_density = density.log_density(nodes)
    inside = log_density > log_density.max() + np.log(score_error.SUPPORT)
    mode = density.component_log_density(nodes).argmax(-1)
    rows = np.abs(density.means[:, 1, None] - grid_y).argmin(-1)
    columns = np.abs(density.means[:, 0, None] - grid_x).argmin(-1)
    gaps = [score_error.gap_error(e[rows, columns], log_density[rows, columns]) for e in energies if len(rows) > 1]
    return {
        "energy_spearman_within_modes": figure(
            [score_error.spearman_within_modes(e.ravel(), log_density.ravel(), mode.ravel()) for e in energies]
        ),
        "energy_spearman_support": figure([spearman(e[inside], -log_density[inside]) for e in energies]),
        **({} if inside.all() else {"energy_auc": figure([well_auc(e[inside], e[~inside]) for e in energies])}),
        "energy_spearman_box": figure([spearman(e.ravel(), -log_density.ravel()) for e in energies]),
        **({} if len(rows) == 1 else {"energy_gap_error": figure(gaps)}),
    }


def mode_weights(density: Mixture, samples: Array, region: Region) -> Array:
    """The share of the samples (S, N, 2) in each mode, (S, K); those that escaped from the region are in none."""
    return np.asarray((density.responsibilities(samples) * region.holds(samples)[..., None]).mean(1))


def sample_quality(density: Mixture, samples: Array, region: Region, rng: np.random.Generator, projections: int = 64) -> Group:
    """How samples (S, N, 2) compare with as many exact ones of the density they are meant to come from.

    `escaped` is the share of those that left the region. The distances take at most `COMPARED` samples, since the energy
    distance has all pairs of them. Where there is one mode there are no weights of modes to be found: no `mode_weight_tv`.
    """
    few = samples[:, :COMPARED]
    exact, _ = density.sample(few.shape[1], rng)
    directions = sampling.unit_directions(projections)
    found = mode_weights(density, samples, region)
    missed = [sampling.mode_weight_tv(weights, density.weights) for weights in found]
    inside = zip(few, region.holds(few), strict=True)
    shapes = [shape_error(density, one[held], exact, weights) for (one, held), weights in zip(inside, found, strict=True)]
    return {
        **({"mode_weight_tv": figure(missed)} if len(density.weights) > 1 else {}),
        "mode_discrepancy": figure(np.add(missed, shapes)),
        "escaped": figure(1 - region.holds(samples).mean(-1)),
        "energy_distance": figure([sampling.energy_distance(s, exact) for s in few]),
        "sliced_wasserstein": figure([sampling.sliced_wasserstein(s, exact, directions) for s in few]),
    }


def shape_error(density: Mixture, samples: Array, exact: Array, found: Array) -> float:
    """How wrong samples (N, 2) lie within the modes, between 0 and 1, given exact ones (M, 2).

        Σ_k min(ŵ_k, w_k) H_k

    H_k is the energy coefficient of those samples and those exact ones that mode k most probably gave, in its own units: less
    its mean, times L⁻¹ where C_k = L Lᵀ. Weights that are wrong are none of it. With the total variation of the weights it is
    `mode_discrepancy`: the share in the wrong mode, and how wrong the rest lies in the right one.

    Args:
        density: where the exact samples are from; w_k, the means and the C_k.
        samples: inside the region.
        exact: to compare with.
        found: the share ŵ_k of the samples in each mode, (K,).
    """
    labels = [density.responsibilities(points).argmax(-1) for points in (samples, exact)]
    error = 0.0
    for k, (mean, covariance) in enumerate(zip(density.means, density.covariances, strict=True)):
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        own = [(points[label == k] - mean) @ whitening.T for points, label in zip((samples, exact), labels, strict=True)]
        if min(map(len, own)) > 1:
            error += min(found[k], density.weights[k]) * sampling.energy_coefficient(*own)
    return error
