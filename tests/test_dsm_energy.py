"""Denoising score matching of an energy: a gradient field by construction, low on the data, blind to far modes' weights."""

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
    """The loss of a given energy on samples of the mixture."""
    stubbed = method(sigma, copies=1)
    stubbed.energy = energy  # type: ignore[method-assign]
    x = torch.from_numpy(mixture.sample(20_000, np.random.default_rng(1))[0])[None]
    return stubbed.loss(x, source())["loss"].item()


def test_the_score_is_minus_the_slope_of_the_energy() -> None:
    trained, x = method(), normal(3, 16, 2)
    assert_close(trained.score(x), -slope(trained.energy, x), rtol=1e-6, atol=1e-8)


def test_the_score_has_no_curl() -> None:
    jacobian = slope(method().score, normal(3, 16, 2))
    assert jacobian.abs().amax((-2, -1)).min() > 1e-4
    assert_close(jacobian, jacobian.mT, rtol=0, atol=1e-8)


def test_the_loss_is_written_out() -> None:
    trained, x = method(), normal(3, 7, 2)
    points, noise = pairs(x, source().normal(x))
    score = -slope(trained.energy, points + 0.5 * noise)
    expected = [sum(((score[s, i] + noise[s, i] / 0.5) ** 2).sum() for i in range(14)) / 14 for s in range(3)]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_the_energy_of_a_gaussian_reaches_its_analytic_floor(sigma: float) -> None:
    smooth = GAUSSIAN.smoothed(sigma)
    floor = 2 / sigma**2 - np.trace(np.linalg.inv(smooth.covariances[0]))
    assert loss_with(lambda x: -log_density(smooth)(x), GAUSSIAN, sigma) == approx(floor, rel=0.03)


@pytest.mark.parametrize("factor", [-1, 0, 0.5, 1.5])
def test_any_other_multiple_of_minus_log_p_is_worse_and_its_opposite_worst(factor: float) -> None:
    smooth = log_density(REFERENCE.smoothed(0.5))
    excess = loss_with(lambda x: -factor * smooth(x), REFERENCE) - loss_with(lambda x: -smooth(x), REFERENCE)
    assert excess == approx((factor - 1) ** 2 * 2.461, rel=0.05)


def test_the_weights_of_modes_far_apart_are_invisible() -> None:
    means, covariances = [[-10, 0], [10, 0]], [np.eye(2)] * 2
    true, wrong = (Mixture(means, covariances, weights) for weights in ([0.9, 0.1], [0.5, 0.5]))
    losses = [loss_with(lambda x, m=m: -log_density(m.smoothed(0.5))(x), true) for m in (true, wrong)]
    assert losses[0] == approx(losses[1], rel=1e-9)


def test_training_sees_everything_of_the_network_but_the_constant() -> None:
    trained = method()
    trained.loss(normal(3, 16, 2), source())["loss"].sum().backward()
    *others, constant = trained.parameters()
    assert all(p.grad.abs().sum() > 0 for p in others)
    assert constant.grad is None


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    trained, x = method(), normal(3, 16, 2)
    weight = trained.network[0].weight
    direction = normal(*weight.shape)
    trained.loss(x, source())["loss"].sum().backward()
    sides = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            weight.add_(step * direction)
        sides.append(trained.loss(x, source())["loss"].sum().item())
    assert (weight.grad * direction).sum().item() == approx((sides[0] - sides[1]) / 2e-5, rel=1e-6)


def test_evaluation_gives_the_same_loss_without_a_graph() -> None:
    trained, x = method(), normal(3, 16, 2)
    expected = trained.loss(x, source())["loss"].detach()
    with torch.no_grad():
        found = trained.eval().loss(x, source())["loss"]
    assert_close(found, expected)
    assert not found.requires_grad
