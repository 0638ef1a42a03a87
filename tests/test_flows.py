"""Flows from noise to the mixture: their exact densities, velocities, samples and likelihoods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest import approx

from stages.core.errors import UserError
from stages.mog.evaluation.flows import log_likelihood, transported, with_divergence
from stages.mog.evaluation.likelihoods import divergence, log_integral, proposed
from stages.mog.problem import path
from stages.mog.problem.gaussian_mixture import Array, Mixture
from tests.plane import REFERENCE, normal

SMALL = Mixture([[0, 0, 0], [3, 1, -1]], [np.diag([1, 0.5, 2]), np.eye(3)], [0.3, 0.7])
"""A mixture in three dimensions."""


def linear(t: float) -> path.Path:
    """The path of flow matching."""
    return t, 1 - t, 1.0, -1.0


def exploding(t: float) -> path.Path:
    """The path of diffusion."""
    return 1.0, t, 0.0, 1.0


PATHS: dict[str, tuple[Callable[[float], path.Path], float, float]] = {
    "linear": (linear, 0.0, 1.0),
    "exploding": (exploding, 80.0, 0.1),
}


def exact_divergence(mixture: Mixture, at: path.Path, x: Array, step: float = 1e-5) -> Array:
    axes = step * np.eye(x.shape[-1])
    slopes = [path.velocity(mixture, at, x + axis) - path.velocity(mixture, at, x - axis) for axis in axes]
    return sum(slope[..., i] / (2 * step) for i, slope in enumerate(slopes))


@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("mixture", [REFERENCE, SMALL], ids=["plane", "three dimensions"])
def test_density_and_velocity_are_those_of_samples_of_the_path(mixture: Mixture, t: float) -> None:
    """The velocity is the regression of x − ε on x_t: its residual is uncorrelated with functions of x_t."""
    rng = np.random.default_rng(0)
    x, _ = mixture.sample(200_000, rng)
    noise = rng.standard_normal(x.shape)
    between = t * x + (1 - t) * noise
    density = path.density(mixture, linear(t))
    assert between.mean(0) == approx(density.weights @ density.means, abs=0.05)
    residual = x - noise - path.velocity(mixture, linear(t), between)
    for function in (np.ones_like, np.tanh, np.sin):
        product = (residual * function(between)).sum(-1)
        assert product.mean() == approx(0, abs=5 * product.std() / len(product) ** 0.5)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_velocity_of_diffusion_is_minus_sigma_times_the_score(sigma: float) -> None:
    x, _ = REFERENCE.smoothed(sigma).sample(50, np.random.default_rng(0))
    assert path.velocity(REFERENCE, exploding(sigma), x) == approx(-sigma * REFERENCE.smoothed(sigma).score(x))


def test_velocity_of_flow_matching_is_linear_in_the_score_of_the_scaled_points() -> None:
    t = 0.4
    x, _ = path.density(REFERENCE, linear(t)).sample(50, np.random.default_rng(0))
    sigma = (1 - t) / t
    score = REFERENCE.smoothed(sigma).score(x / t)
    assert path.velocity(REFERENCE, linear(t), x) == approx(x / t + score * sigma / t)


@pytest.mark.parametrize("t", [0.2, 0.7])
@pytest.mark.parametrize("name", PATHS)
def test_density_and_velocity_satisfy_the_continuity_equation(name: str, t: float) -> None:
    """∂ log p/∂t = −∇·u − u·∇ log p."""
    at = PATHS[name][0]
    x, _ = path.density(REFERENCE, at(t)).sample(50, np.random.default_rng(0))
    later, earlier = (path.density(REFERENCE, at(t + step)).log_density(x) for step in (1e-5, -1e-5))
    flow = (path.velocity(REFERENCE, at(t), x) * path.density(REFERENCE, at(t)).score(x)).sum(-1)
    assert (later - earlier) / 2e-5 == approx(-exact_divergence(REFERENCE, at(t), x) - flow, abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("mixture", [REFERENCE, SMALL], ids=["plane", "three dimensions"])
def test_flow_of_the_analytic_velocity_samples_and_scores_the_mixture(name: str, mixture: Mixture) -> None:
    at, start, end = PATHS[name]
    target = path.density(mixture, at(end))
    x, _ = target.sample(300, np.random.default_rng(0))

    def slopes(points: Array, t: float) -> tuple[Array, Array]:
        return path.velocity(mixture, at(t), points), exact_divergence(mixture, at(t), points)

    learned = log_likelihood(slopes, x, (start, end), at(start)[1])
    # At σ = 80 the mixture is normal but for its mean, which changes single log-densities by mean · x / σ².
    assert learned == approx(target.log_density(x), abs=0.02 if name == "linear" else 0.2)
    assert (learned - target.log_density(x)).mean() == approx(0, abs=0.01)
    noise = at(start)[1] * np.random.default_rng(1).standard_normal((4000, x.shape[-1]))
    samples = transported(lambda points, t: path.velocity(mixture, at(t), points), noise, np.array([start, end]))[-1]
    found = target.responsibilities(samples).mean(0)
    assert found == approx(target.weights, abs=0.035)
    assert samples.mean(0) == approx(target.weights @ target.means, abs=0.25)


def test_solution_passes_through_all_times() -> None:
    x = np.array([[1.0, 2.0], [3.0, -1.0]])
    times = np.array([0.0, 0.5, 2.0])
    found = transported(lambda points, _: -points, x, times)
    assert found == approx(np.exp(-times)[:, None, None] * x, abs=1e-3)


def test_flow_without_a_solution_is_an_error() -> None:
    with pytest.raises(UserError, match="no solution"), np.errstate(all="ignore"):
        transported(lambda points, _: points**3, np.ones((1, 2)), np.array([0.0, 10.0]))


def test_divergence_of_a_network_is_the_trace_of_its_jacobian() -> None:
    torch.manual_seed(0)
    weights = torch.randn(3, 2, 2)
    x = normal(3, 2000, 2).numpy()
    value, found = with_divergence(lambda points: torch.tanh(points @ weights), x, torch.device("cpu"))
    outputs = np.tanh(np.einsum("sni,sij->snj", x, weights.numpy()))
    expected = np.einsum("snj,sjj->sn", 1 - outputs**2, weights.numpy())
    assert value == approx(outputs, abs=1e-5) and found == approx(expected, abs=1e-5)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_likelihood_of_a_linear_flow_has_its_closed_form(scale: float) -> None:
    """dx/dt = log(scale) x maps N(0, 1) to N(0, scale²)."""
    rate = np.log(scale)
    x = np.random.default_rng(0).standard_normal((2, 100, 2))
    found = log_likelihood(lambda points, _: (rate * points, np.full(points.shape[:-1], 2 * rate)), x, (0.0, 1.0), 1.0)
    assert found == approx(-((x**2).sum(-1) / scale**2 + 2 * np.log(2 * np.pi * scale**2)) / 2, abs=1e-3)


def test_divergence_from_itself_is_zero_and_from_another_density_its_closed_form() -> None:
    standard, shifted = (Mixture([mean], [np.eye(2)], [1]) for mean in ([0, 0], [1, 1]))
    x, _ = standard.sample(50_000, np.random.default_rng(0))
    log_densities = np.stack([standard.log_density(x), shifted.log_density(x)])
    found = divergence(log_densities[0], log_densities)
    same, other = found["kl"]["values"]
    assert same == 0 and found["kl_standard_error"]["values"][0] == 0
    assert other == approx(1, abs=4 * found["kl_standard_error"]["values"][1])
    assert found["negative_log_likelihood"]["values"][0] == approx(1 + np.log(2 * np.pi), abs=0.02)


def test_negative_divergence_of_a_normalised_density_is_noise() -> None:
    x, _ = REFERENCE.sample(5000, np.random.default_rng(0))
    found = divergence(REFERENCE.log_density(x), REFERENCE.smoothed(0.05).log_density(x)[None])
    assert found["kl"]["mean"] > -3 * found["kl_standard_error"]["mean"]


@pytest.mark.parametrize("width", [0.03, 1.0, 3.0])
@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_integral_of_an_unnormalised_density_is_its_constant(width: float, constant: float) -> None:
    """Whatever the width of the modes, since the points are not those of a grid."""
    mixture = Mixture(REFERENCE.means, width**2 * REFERENCE.covariances, REFERENCE.weights)
    found = log_integral(
        *proposed(mixture, np.random.default_rng(0)),
        lambda x: np.stack((mixture.log_density(x), mixture.log_density(x) + constant)),
    )
    assert found == approx([0, constant], abs=0.01)


def test_integral_finds_mass_far_from_the_modes() -> None:
    mean, covariance = REFERENCE.moments()
    elsewhere = Mixture([mean + np.array([6, 6])], [covariance / 4], [1])
    found = log_integral(*proposed(REFERENCE, np.random.default_rng(0)), lambda x: elsewhere.log_density(x)[None])
    assert found == approx([0], abs=0.03)


def test_moments_are_those_of_a_sample() -> None:
    x, _ = SMALL.sample(200_000, np.random.default_rng(0))
    mean, covariance = SMALL.moments()
    assert mean == approx(x.mean(0), abs=0.02) and covariance == approx(np.cov(x.T), abs=0.03)
