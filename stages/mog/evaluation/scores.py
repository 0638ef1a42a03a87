"""Metrics of score-based methods: the score, its energy, the denoising loss, and the samples it generates.

Scores are (S, N, d), float64, with the seeds as leading dimension; a metric has one value per seed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.metrics import score_error
from stages.metrics.collapse import normalise
from stages.metrics.energy_wells import well_auroc
from stages.metrics.ranks import spearman
from stages.metrics.summary import over_seeds, rounded
from stages.mog.evaluation.model import Array, EvaluatedModel, apply, apply_scalar
from stages.mog.evaluation.sampling import sampler
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.method import HasEnergy, HasNoiseSchedule
from stages.nn.noise import FixedNoise
from stages.pipeline import seeding
from stages.pipeline.concurrent import concurrently

BATCH = 4096
"""Pairs of point and noise in one forward pass of a loss."""
CHUNK = 2**17
"""Points at which scores are compared at once; bounds the memory."""
LEAST_ADVANTAGE = 0.01
"""Advantage of the true score over the baseline, below which no `…_skill` is reported."""


def evaluate_scores(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and fields of a score-based method, with its samples and those of the analytic score.

    The fields, and the metrics of the energy and of the score's direction, are those of a mixture in the plane.
    """
    density = model.mixture.smoothed(model.trained.sigma)
    drawing = sampler(model)

    def learned(x: Array) -> Array:
        return apply(model.trained.score, x, model.device)

    (samples, walk), control, denoising, (landscape, fields) = concurrently(
        drawing.learned,
        drawing.control,
        partial(_denoising, model, learned),
        partial(_landscape, model, density, learned) if model.plane else lambda: ({}, {}),
    )
    sampling, sampled = drawing.evaluate(samples, walk, control)
    score = {"relative_fisher_error": over_seeds(_fisher_error(model, density, learned)), **landscape}
    if isinstance(model.trained, HasNoiseSchedule):
        score["per_sigma"] = _per_sigma(model)
        if model.plane:
            fields |= _noise_levels(model)
    return {"score": score, **denoising, "sampling": sampling}, fields | sampled


def _landscape(
    model: EvaluatedModel, density: Mixture, learned: Callable[[Array], Array]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and fields of the energy and the score on the grid."""
    energy, snapshots = _energy(model, model.trained), _energy(model, model.snapshots)
    scores, true = learned(model.nodes), density.score(model.nodes)
    metrics = {
        **energy_metrics(density, energy, model.grid_x, model.grid_y),
        **direction_metrics(density, scores, true, model.nodes),
    }
    fields = {
        "sigma": np.array(float(model.trained.sigma)),
        "energy": energy,
        "log_density": model.on_grid(density.log_density(model.nodes)),
        "score": model.on_grid(scores, 2),
        "score_true": model.on_grid(true, 2),
        "snapshot_energy": snapshots,
    }
    return metrics, fields


def _fisher_error(model: EvaluatedModel, density: Mixture, learned: Callable[[Array], Array]) -> Array:
    """The relative Fisher divergence on new points from the smoothed density, (S,)."""
    points, _ = density.sample(model.protocol.evaluation.score_points, model.rng)
    return score_error.relative_error(learned(points), density.score(points))


def _per_sigma(model: EvaluatedModel) -> dict[str, Any]:
    """The relative Fisher divergence at each noise level."""
    metrics = {}
    for sigma in model.trained.sigmas:

        def learned(x: Array, sigma: float = sigma) -> Array:
            return apply(lambda p: model.trained.score_at(p, sigma), x, model.device)

        metrics[f"{sigma:.6g}"] = over_seeds(_fisher_error(model, model.mixture.smoothed(sigma), learned))
    return metrics


def _noise_levels(model: EvaluatedModel) -> dict[str, Array]:
    """Score and energy of the first seed on the grid at each noise level, beside the analytic ones of p_σ."""
    dx, dy = model.grid_x[1] - model.grid_x[0], model.grid_y[1] - model.grid_y[0]
    found: dict[str, list[Array]] = {"score": [], "score_true": [], "energy": [], "log_density": []}
    for sigma in model.trained.sigmas:
        density = model.mixture.smoothed(sigma)
        score = model.on_grid(apply(partial(model.trained.score_at, sigma=sigma), model.nodes, model.device)[:1], 2)
        found["score"].append(score[0])
        found["score_true"].append(model.on_grid(density.score(model.nodes), 2))
        found["energy"].append(score_error.potential(score, dx, dy, sigma)[0])
        found["log_density"].append(model.on_grid(density.log_density(model.nodes)))
    levels = {f"level_{key}": np.stack(values) for key, values in found.items()}
    return {"level_sigmas": np.array(model.trained.sigmas), **levels}


def _denoising(model: EvaluatedModel, learned: Callable[[Array], Array]) -> dict[str, Any]:
    """The excess of the denoising loss over its minimum; nothing if the method has no such loss."""
    if not model.trained.denoises:
        return {}
    rng = np.random.default_rng(seeding.stream(model.protocol, "mog.denoising"))
    count, loss = model.protocol.evaluation.denoising_draws, partial(_denoising_loss, model)
    return {"denoising": denoising_metrics(model.mixture, model.trained.sigma, loss, learned, count, rng)}


def _denoising_loss(model: EvaluatedModel, x: Array, noise: Array) -> Array:
    """The method's own loss on given points and noise (N, d), (S,)."""
    points, noises = (torch.from_numpy(a.astype(np.float32)).to(model.device) for a in (x, noise))
    sums = np.zeros(model.seeds)
    with torch.no_grad():
        for part, drawn in zip(points.split(BATCH), noises.split(BATCH), strict=True):
            losses = model.trained.loss(part.expand(model.seeds, -1, -1), FixedNoise(drawn[None], torch.ones_like(drawn)))
            sums += losses["loss"].cpu().double().numpy() * len(part)
    return sums / len(x)


def denoising_metrics(
    mixture: Mixture,
    sigma: float,
    loss: Callable[[Array, Array], Array],
    learned: Callable[[Array], Array],
    count: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The excess of a method's denoising loss over that of the analytic score, on the same noise.

        L(s_θ) − L(s_σ) = E ‖s_θ(x̃) − s_σ(x̃)‖²,    L(s) = E ‖s(x̃) + ε/σ‖²,    x̃ = x + σε

    `excess_loss` is the left side and `fisher_divergence` the right side. Their ratio `excess_over_error` is 1 for every s_θ if
    the method's loss is L and the score of its minimiser is s_σ.

    Args:
        mixture: of the clean points.
        sigma: σ, in units of x.
        loss: the method's own loss, from points and noise (N, d) to (S,); it uses each ε with both signs.
        learned: s_θ, from points (N, d) to (S, N, d).
        count: pairs (x, ε).
        rng: generator of these pairs.
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
    return {
        "excess_loss": over_seeds(excess),
        "fisher_divergence": over_seeds(error),
        "excess_over_error": over_seeds(excess / error),
    }


def _energy(model: EvaluatedModel, method: Any) -> Array:
    """The energy on the grid, normalised there: the method's own, else the potential of its score."""
    dx, dy = model.grid_x[1] - model.grid_x[0], model.grid_y[1] - model.grid_y[0]
    if isinstance(method, HasEnergy):
        energy = apply_scalar(method.energy, model.nodes, model.device)
        return score_error.normalised_energy(model.on_grid(energy), dx, dy)
    score = model.on_grid(apply(method.score, model.nodes, model.device), 2)
    return score_error.potential(score, dx, dy, method.sigma)


def direction_metrics(density: Mixture, learned: Array, true: Array, nodes: Array) -> dict[str, Any]:
    """The direction of learned scores at the nodes of the grid.

    `direction_support` and `direction_outside` are the mean cosines between the learned and the true score where p_σ is above
    and below `SUPPORT` times its maximum. `mode_direction_accuracy` is the fraction of nodes whose score points toward a mode:
    its product with the direction to the modes, averaged by their posterior probabilities, is positive. If no node is outside
    the support there is no `direction_outside`.

    These values depend on the mixture. `…_baseline` is the value of the better of two baselines that use the modes but not the
    score: the score of the normal density with the mixture's mean and covariance, and the direction to the nearest mean.
    `…_skill` is the skill over that baseline, (learned − guess) / (true − guess): 1 for the true score, 0 for the baseline; it
    is absent if the denominator is below `LEAST_ADVANTAGE`.

    Args:
        density: p_σ.
        learned: s_θ, (S, N, 2).
        true: ∇ log p_σ, (N, 2).
        nodes: (N, 2).
    """
    log_density = density.log_density(nodes)
    inside = log_density > log_density.max() + np.log(score_error.SUPPORT)
    to_modes = density.responsibilities(nodes) @ density.means - nodes
    true_direction = normalise(true)

    def cosine(scores: Array, where: NDArray[np.bool_]) -> Array:
        return np.asarray((normalise(scores) * true_direction).sum(-1)[..., where].mean(-1))

    def mode_direction_accuracy(scores: Array) -> Array:
        return np.asarray(((scores * to_modes).sum(-1) > 0).mean(-1))

    def with_baseline(name: str, metric: Callable[[Array], Array]) -> dict[str, Any]:
        found, guess = metric(learned), metric(guesses).max()
        advantage = metric(true) - guess
        metrics = {name: over_seeds(found), f"{name}_baseline": rounded(guess)}
        return metrics | ({f"{name}_skill": over_seeds((found - guess) / advantage)} if advantage > LEAST_ADVANTAGE else {})

    guesses = np.stack(_baselines(density, nodes))
    return {
        "direction_support": over_seeds(cosine(learned, inside)),
        **({} if inside.all() else with_baseline("direction_outside", lambda scores: cosine(scores, ~inside))),
        **with_baseline("mode_direction_accuracy", mode_direction_accuracy),
    }


def _baselines(density: Mixture, nodes: Array) -> tuple[Array, Array]:
    """The score of the normal density with the mixture's moments, and the direction to the nearest mean, at nodes (N, 2)."""
    mean, covariance = density.moments()
    nearest = ((nodes[:, None] - density.means) ** 2).sum(-1).argmin(-1)
    return (mean - nodes) @ np.linalg.inv(covariance), density.means[nearest] - nodes


def energy_metrics(density: Mixture, energies: Array, grid_x: Array, grid_y: Array) -> dict[str, Any]:
    """Agreement of learned energies with −log p_σ, within the modes and between them.

    If the box has no empty space, as at a large σ, there is no `energy_auroc`; with one mode there is no `energy_gap_error`.

    Args:
        density: p_σ.
        energies: on the grid, (S, H, W).
        grid_x, grid_y: coordinates of the nodes, (W,) and (H,).
    """
    nodes = np.stack(np.meshgrid(grid_x, grid_y), -1)
    log_density = density.log_density(nodes)
    inside = log_density > log_density.max() + np.log(score_error.SUPPORT)
    mode = density.component_log_density(nodes).argmax(-1)
    rows = np.abs(density.means[:, 1, None] - grid_y).argmin(-1)
    columns = np.abs(density.means[:, 0, None] - grid_x).argmin(-1)
    gaps = [score_error.gap_error(e[rows, columns], log_density[rows, columns]) for e in energies if len(rows) > 1]
    return {
        "energy_spearman_within_modes": over_seeds(
            [score_error.spearman_within_modes(e.ravel(), log_density.ravel(), mode.ravel()) for e in energies]
        ),
        "energy_spearman_support": over_seeds([spearman(e[inside], -log_density[inside]) for e in energies]),
        **({} if inside.all() else {"energy_auroc": over_seeds([well_auroc(e[inside], e[~inside]) for e in energies])}),
        "energy_spearman_box": over_seeds([spearman(e.ravel(), -log_density.ravel()) for e in energies]),
        **({} if len(rows) == 1 else {"energy_gap_error": over_seeds(gaps)}),
    }
