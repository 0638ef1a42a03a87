"""Denoising score matching: minimum loss, excess loss, sign, gradient and antithetic noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.dsm import Dsm
from stages.mog.problem.gaussian_mixture import Array, Mixture
from tests.plane import REFERENCE, domain, pairs, source

Score = Callable[[Array], Array]


def method(sigma: float, depth: int = 2, copies: int = 1) -> Dsm:
    torch.manual_seed(0)
    return Dsm(domain(copies), network={"width": 16, "depth": depth}, sigma=sigma).double()


def samples(count: int) -> Tensor:
    return torch.from_numpy(REFERENCE.sample(count, np.random.default_rng(1))[0])[None]


def with_score(sigma: float, score: Score) -> Dsm:
    """The method with a NumPy score in place of its network's."""
    stubbed = method(sigma)
    stubbed.score = lambda x: torch.from_numpy(score(x.numpy()))  # type: ignore[method-assign]
    return stubbed


def loss(trained: Dsm, x: Tensor) -> float:
    with torch.no_grad():
        return trained.loss(x, source())["loss"].item()


@pytest.mark.parametrize(("sigma", "minimum"), [(0.1, 97.92), (0.3, 9.437), (0.5, 2.769), (1.0, 0.434)])
def test_analytic_score_has_the_minimum_loss_of_the_reference(sigma: float, minimum: float) -> None:
    assert loss(with_score(sigma, REFERENCE.smoothed(sigma).score), samples(50_000)) / 2 == approx(minimum, rel=0.015)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_minimum_loss_is_the_noise_norm_minus_the_score_norm(sigma: float) -> None:
    density = REFERENCE.smoothed(sigma)
    points, _ = density.sample(50_000, np.random.default_rng(2))
    minimum = 2 / sigma**2 - (density.score(points) ** 2).sum(-1).mean()
    assert loss(with_score(sigma, density.score), samples(50_000)) == approx(minimum, rel=0.03)


@pytest.mark.parametrize("error", [np.ones_like, np.tanh, lambda x: x / 5], ids=["constant", "tanh", "linear"])
def test_excess_loss_is_the_fisher_divergence(error: Score) -> None:
    true = REFERENCE.smoothed(0.5).score
    points, _ = REFERENCE.smoothed(0.5).sample(50_000, np.random.default_rng(3))
    expected = (error(points) ** 2).sum(-1).mean()
    x = samples(50_000)
    excess = loss(with_score(0.5, lambda x: true(x) + error(x)), x) - loss(with_score(0.5, true), x)
    assert excess == approx(expected, rel=0.05)


def test_unsmoothed_and_negated_scores_have_higher_losses_than_the_smoothed_score() -> None:
    smooth, x = REFERENCE.smoothed(0.5).score, samples(5_000)
    best = loss(with_score(0.5, smooth), x)
    assert best < loss(with_score(0.5, REFERENCE.score), x)
    assert best < loss(with_score(0.5, lambda x: -smooth(x)), x)


def test_loss_of_a_zero_score_is_the_mean_square_of_noise_over_sigma() -> None:
    x = samples(50_000)
    noise = source().normal(x)
    assert loss(with_score(0.5, np.zeros_like), x) == approx((noise / 0.5).square().sum(-1).mean().item())
    assert loss(with_score(0.5, np.zeros_like), x) / 2 == approx(1 / 0.5**2, rel=0.02)


def test_loss_of_the_exact_score_of_a_point_mass_is_zero() -> None:
    score = Mixture([[3, 4]], [1e-12 * np.eye(2)], [1]).smoothed(0.5).score
    assert loss(with_score(0.5, score), torch.tensor([[[3.0, 4]]]).double().expand(1, 100, 2)) == approx(0, abs=1e-9)


def test_loss_equals_the_implicit_score_matching_loss_up_to_a_constant() -> None:
    trained, x = method(0.7), samples(50_000)
    points, noise = pairs(x, source().normal(x))
    noisy = (points + 0.7 * noise).requires_grad_()
    score = trained.score(noisy)
    trace = sum(torch.autograd.grad(score[..., i].sum(), noisy, retain_graph=True)[0][..., i] for i in (0, 1))
    implicit = (score.square().sum(-1) + 2 * trace).mean()
    assert loss(trained, x) == approx(implicit.item() + 2 / 0.7**2, rel=0.02)


def test_loss_matches_its_definition() -> None:
    trained, x = method(0.4, copies=3), samples(7).expand(3, 7, 2)
    points, noise = pairs(x, source().normal(x))
    score = trained.network(points + 0.4 * noise) / 0.4
    expected = [sum(((score[s, i] + noise[s, i] / 0.4) ** 2).sum() for i in range(14)) / 14 for s in range(3)]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


def test_gradient_of_a_linear_network_is_that_of_least_squares() -> None:
    linear, x = method(0.4, depth=0), samples(50)
    points, noise = pairs(x, source().normal(x))
    linear.loss(x, source())["loss"].sum().backward()
    (layer,) = linear.network
    noisy = points + 0.4 * noise
    residual = 2 / 100 * (noisy @ layer.weight + layer.bias + noise) / 0.4**2
    assert_close(layer.weight.grad, noisy.mT @ residual, rtol=1e-5, atol=1e-5)
    assert_close(layer.bias.grad, residual.sum(1, keepdim=True), rtol=1e-5, atol=1e-5)


def test_antithetic_noise_has_a_lower_gradient_variance_than_independent_noise() -> None:
    trained = method(0.1)

    def gradient(x: Tensor, noise: Tensor) -> Tensor:
        trained.zero_grad()
        (trained.score(x + 0.1 * noise) + noise / 0.1).square().sum(-1).mean().backward()
        return trained.network[0].weight.grad.flatten().clone()

    x = samples(32)
    noises = [source(seed).normal(torch.cat((x, x), -2)) for seed in range(200)]
    independent = torch.stack([gradient(torch.cat((x, x), -2), noise) for noise in noises])
    antithetic = torch.stack([gradient(*pairs(x, noise[:, :32])) for noise in noises])
    assert_close(antithetic.mean(0), independent.mean(0), rtol=0, atol=5 * (independent.std(0).max() / 200**0.5).item())
    assert antithetic.var(0).sum() < 0.1 * independent.var(0).sum()


def test_score_times_sigma_does_not_depend_on_sigma() -> None:
    x = samples(5)
    assert_close(method(0.1).score(x) * 0.1, method(2.0).score(x) * 2.0)
