"""Metrics of learned densities and flows against the mixture: likelihood, normalisation, velocity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import logsumexp

from stages.metrics import score_error
from stages.metrics.summary import over_seeds
from stages.mog.evaluation import flows
from stages.mog.evaluation.model import Array, EvaluatedModel, apply, apply_scalar
from stages.mog.problem import path
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.method import HasFlow
from stages.pipeline import seeding

PROPOSALS = 200_000
"""Points of the integral over a learned density in the plane; its relative standard error is then about .003."""
POINTS = 5000
"""Points at which a likelihood or a velocity is compared with the true one."""


def evaluate_density(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of an energy that is learned including its constant.

    `log_partition` is log ∫ q, the error of the constant. `energy_rmse` is √E (log q − log p)², constant included, and `kl` the
    divergence of the normalised density q / ∫ q (`divergence`).
    """
    x = _points(model, model.mixture)
    learned = apply_scalar(model.trained.log_likelihood, x, model.device)
    proposals = proposed(model.mixture, np.random.default_rng(seeding.stream(model.protocol, "mog.partition")))
    log_partition = log_integral(*proposals, lambda at: apply_scalar(model.trained.log_likelihood, at, model.device))
    true = model.mixture.log_density(x)
    metrics = {
        **divergence(true, learned - log_partition[:, None]),
        "log_partition": over_seeds(log_partition),
        "energy_rmse": over_seeds(np.sqrt(((learned - true) ** 2).mean(-1))),
    }
    return {"likelihood": metrics}, {}


def evaluate_flow(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics of a flow: the likelihood of its end, and the relative error of its velocity, E ‖v − u‖² / E ‖u‖² at each t."""
    flow: HasFlow = model.trained
    density = path.density(model.mixture, flow.path(flow.end))
    x = _points(model, density)
    _, std, _, _ = flow.path(flow.start)

    def with_divergence(points: Array, t: float) -> tuple[Array, Array]:
        return flows.with_divergence(partial(flow.velocity, t=t), points, model.device)

    each = np.broadcast_to(x, (model.seeds, *x.shape))
    learned = flows.log_likelihood(with_divergence, each, (flow.start, flow.end), std)
    errors = np.array([_velocity_error(model, t) for t in flow.times])
    velocity = {
        "relative_error": over_seeds(errors.mean(0)),
        "per_time": {f"{t:.6g}": over_seeds(error) for t, error in zip(flow.times, errors, strict=True)},
    }
    return {"likelihood": divergence(density.log_density(x), learned), "velocity": velocity}, {}


def proposed(mixture: Mixture, rng: np.random.Generator) -> tuple[Array, Array]:
    """Points (M, d) for an integral over the plane by importance sampling, and their log-density (M,).

    Half of the points are of the mixture with covariances twice as large; half are normally distributed with the mean of the
    mixture and twice the standard deviation of its points, so that mass far from the modes is found as well.
    """
    mean, covariance = mixture.moments()
    proposal = Mixture(
        np.concatenate((mixture.means, [mean])),
        np.concatenate((2 * mixture.covariances, [4 * covariance])),
        np.append(mixture.weights, 1) / 2,
    )
    x, _ = proposal.sample(PROPOSALS, rng)
    return x, proposal.log_density(x)


def log_integral(x: Array, log_proposal: Array, log_density: Callable[[Array], Array]) -> Array:
    """log ∫ q of an unnormalised log-density (S, M) at points that were drawn from a proposal, (S,).

    Args:
        x: the points (M, d).
        log_proposal: log-density of the proposal at the points (M,).
        log_density: log q, from points (M, d) to (S, M).
    """
    return np.asarray(logsumexp(log_density(x) - log_proposal, axis=-1) - np.log(len(x)))


def divergence(true: Array, learned: Array) -> dict[str, Any]:
    """The Kullback-Leibler divergence KL(p ‖ q) = E_p (log p − log q), in nats, with its standard error.

    `negative_log_likelihood` is −E_p log q; it exceeds the entropy of p by the divergence.

    Args:
        true: log p at points of p, (N,).
        learned: log q at these points, (S, N), normalised.
    """
    difference = true - learned
    return {
        "kl": over_seeds(difference.mean(-1)),
        "kl_standard_error": over_seeds(difference.std(-1, ddof=1) / np.sqrt(len(true))),
        "negative_log_likelihood": over_seeds(-learned.mean(-1)),
    }


def _points(model: EvaluatedModel, density: Mixture) -> Array:
    """New points of a density, the same for all methods with that density, (N, d)."""
    rng = np.random.default_rng(seeding.stream(model.protocol, "mog.likelihood"))
    return density.sample(POINTS, rng)[0]


def _velocity_error(model: EvaluatedModel, t: float) -> Array:
    """E ‖v − u‖² / E ‖u‖² on new points of p_t, (S,)."""
    flow: HasFlow = model.trained
    x = _points(model, path.density(model.mixture, flow.path(t)))
    learned = apply(partial(flow.velocity, t=t), x, model.device)
    return score_error.relative_error(learned, path.velocity(model.mixture, flow.path(t), x))
