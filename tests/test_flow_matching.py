"""Flow matching: definition, minimiser, reference implementation of the path, scores and velocities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flow_matching.path import CondOTProbPath
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.flow_matching import FlowMatching
from stages.mog.problem import path
from tests.plane import REFERENCE, domain, normal, pairs, source

SETTINGS = {"mode_std": 4.0, "sigma_max": 10.0, "sigma_min": 0.1, "levels": 5, "sigma": 0.5}


def method(copies: int = 3) -> FlowMatching:
    torch.manual_seed(0)
    return FlowMatching(domain(copies), network={"width": 8, "depth": 2}, **SETTINGS).double()


def exact(error: float = 0.0) -> FlowMatching:
    """The method with the analytic velocity, plus a constant, in place of the network's."""
    stubbed = method(1)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        times = t.expand_as(x[..., :1]).reshape(-1)
        flat = x.reshape(-1, 2).numpy()
        found = [
            path.velocity(REFERENCE, stubbed.path(float(at)), point[None])[0] for at, point in zip(times, flat, strict=True)
        ]
        return torch.from_numpy(np.array(found)).reshape(x.shape) + error

    stubbed._velocity = velocity  # type: ignore[method-assign]
    return stubbed


def drawn(x: Tensor) -> tuple[Tensor, Tensor]:
    """The noise and the stratified times that the loss draws for a batch x."""
    noise = source()
    eps = noise.normal(x)
    return eps, ((torch.arange(x.shape[-2]) + noise.uniform(x[..., 0])) / x.shape[-2])[..., None]


def test_loss_is_the_regression_on_the_path_of_the_reference_implementation() -> None:
    trained, x = method(), normal(3, 8, 2)
    (eps, t), total = drawn(x), torch.zeros(3).double()
    for sign in (1, -1):
        for s in range(3):
            sample = CondOTProbPath().sample(x_0=sign * eps[s], x_1=x[s], t=t[s, :, 0])
            predicted = torch.stack(
                [
                    trained.velocity(point.expand(3, 1, 2), at.item())[s, 0]
                    for point, at in zip(sample.x_t, sample.t, strict=True)
                ]
            )
            total[s] += (predicted - sample.dx_t).square().sum(-1).mean() / 2
    assert_close(trained.loss(x, source())["loss"], total)


def test_excess_over_the_loss_of_the_analytic_velocity_is_the_squared_error() -> None:
    x = torch.from_numpy(REFERENCE.sample(2000, np.random.default_rng(0))[0])[None]
    losses = [exact(error).loss(x, source())["loss"].item() for error in (0.0, 0.5, -0.5)]
    assert losses[1] - losses[0] == approx(0.5, abs=0.25)
    assert (losses[1] + losses[2]) / 2 - losses[0] == approx(0.5)


def test_score_of_the_analytic_velocity_is_that_of_the_smoothed_mixture() -> None:
    for sigma in (0.1, 0.5, 3.0):
        x, _ = REFERENCE.smoothed(sigma).sample(20, np.random.default_rng(0))
        found = exact().score_at(torch.from_numpy(x)[None], sigma)[0].numpy()
        assert found == approx(REFERENCE.smoothed(sigma).score(x), abs=1e-6)


def test_zero_network_predicts_the_regression_on_isotropic_data() -> None:
    """For data N(0, a² I) the velocity is linear: E[x − ε | x_t] = Cov(x − ε, x_t) / Var(x_t) · x_t."""
    trained = method()
    with torch.no_grad():
        for parameter in trained.network[-1].parameters():
            parameter.zero_()
    x = normal(3, 5, 2)
    for t in (0.0, 0.3, 1.0):
        factor = (t * 16 - (1 - t)) / (t**2 * 16 + (1 - t) ** 2)
        assert_close(trained.velocity(x, t), factor * x)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_time_of_a_noise_level_has_that_noise_level(sigma: float) -> None:
    trained = method()
    a, b, a_slope, b_slope = trained.path(trained.time_of(sigma))
    assert b / a == approx(sigma)
    assert (a_slope, b_slope) == (1, -1) and a + b == approx(1)
    assert trained.path(trained.start)[:2] == (0, 1) and trained.path(trained.end)[:2] == (1, 0)


def test_both_signs_of_the_noise_are_used() -> None:
    trained, x = method(), normal(3, 8, 2)
    eps, t = drawn(x)
    clean, noise = pairs(x, eps)
    both = torch.cat((t, t), -2)
    error = trained._velocity(both * clean + (1 - both) * noise, both) - (clean - noise)
    assert_close(trained.loss(x, source())["loss"], error.square().sum(-1).mean(-1))
