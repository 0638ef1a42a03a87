"""Denoising score matching of an energy: curl-free score, minimum loss, and indifference to the weights of distant modes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.dsm_energy import DsmEnergy
from stages.mog.problem.gaussian_mixture import Mixture
from tests.plane import REFERENCE, domain, log_density, normal, pairs, slope, source

GAUSSIAN = Mixture([[3, -1]], [[[1, 0.8], [0.8, 1]]], [1])


def method(sigma: float = 0.5, copies: int = 3) -> DsmEnergy:
    torch.manual_seed(0)
    return DsmEnergy(domain(copies), network={"width": 16, "depth": 2}, sigma=sigma).double()


def loss_with(energy: Callable[[Tensor], Tensor], mixture: Mixture, sigma: float = 0.5) -> float:
    """The loss of an energy on samples of the mixture."""
    stubbed = method(sigma, copies=1)
    stubbed.energy = energy  # type: ignore[method-assign]
    x = torch.from_numpy(mixture.sample(20_000, np.random.default_rng(1))[0])[None]
    return stubbed.loss(x, source())["loss"].item()


def test_score_is_curl_free() -> None:
    jacobian = slope(method().score, normal(3, 16, 2))
    assert jacobian.abs().amax((-2, -1)).min() > 1e-4
    assert_close(jacobian, jacobian.mT, rtol=0, atol=1e-8)


def test_loss_matches_its_definition() -> None:
    trained, x = method(), normal(3, 7, 2)
    points, noise = pairs(x, source().normal(x))
    score = -slope(trained.energy, points + 0.5 * noise)
    expected = [sum(((score[s, i] + noise[s, i] / 0.5) ** 2).sum() for i in range(14)) / 14 for s in range(3)]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_energy_of_a_gaussian_has_the_analytic_minimum_loss(sigma: float) -> None:
    smooth = GAUSSIAN.smoothed(sigma)
    minimum = 2 / sigma**2 - np.trace(np.linalg.inv(smooth.covariances[0]))
    assert loss_with(lambda x: -log_density(smooth)(x), GAUSSIAN, sigma) == approx(minimum, rel=0.03)


@pytest.mark.parametrize("factor", [-1, 0, 0.5, 1.5])
def test_scaling_the_true_energy_raises_the_loss_quadratically(factor: float) -> None:
    smooth = log_density(REFERENCE.smoothed(0.5))
    excess = loss_with(lambda x: -factor * smooth(x), REFERENCE) - loss_with(lambda x: -smooth(x), REFERENCE)
    assert excess == approx((factor - 1) ** 2 * 2.461, rel=0.05)


def test_loss_does_not_depend_on_the_weights_of_distant_modes() -> None:
    means, covariances = [[-10, 0], [10, 0]], [np.eye(2)] * 2
    true, wrong = (Mixture(means, covariances, weights) for weights in ([0.9, 0.1], [0.5, 0.5]))
    losses = [loss_with(lambda x, m=m: -log_density(m.smoothed(0.5))(x), true) for m in (true, wrong)]
    assert losses[0] == approx(losses[1], rel=1e-9)


def test_parameter_gradient_matches_finite_differences() -> None:
    trained, x = method(), normal(3, 16, 2)
    weight = trained.network[0].weight
    direction = normal(*weight.shape)
    trained.loss(x, source())["loss"].sum().backward()
    losses = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            weight.add_(step * direction)
        losses.append(trained.loss(x, source())["loss"].sum().item())
    assert (weight.grad * direction).sum().item() == approx((losses[0] - losses[1]) / 2e-5, rel=1e-6)
