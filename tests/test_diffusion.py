"""Diffusion (EDM): definition, preconditioning, minimiser, noise levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.core.errors import UserError
from stages.methods.diffusion import Diffusion
from stages.mog.problem import path
from tests.plane import REFERENCE, domain, normal, pairs, source

SETTINGS = {
    **{"mode_std": 4.0, "mean_log_sigma": -0.5, "std_log_sigma": 1.5},
    **{"sigma_start": 80.0, "sigma_max": 10.0, "sigma_min": 0.1, "levels": 5, "sigma": 0.5},
}


def method(copies: int = 3) -> Diffusion:
    torch.manual_seed(0)
    return Diffusion(domain(copies), network={"width": 8, "depth": 2}, **SETTINGS).double()


def denoised(trained: Diffusion, x: Tensor, sigma: Tensor) -> Tensor:
    """D(x, σ) = c_skip x + c_out F(c_in x, ln σ), as in table 1 of the paper but for the scales of the network's inputs."""
    mode_std = 4.0
    skip = mode_std**2 / (sigma**2 + mode_std**2)
    out = sigma * mode_std / (sigma**2 + mode_std**2).sqrt()
    inside = 1 / (sigma**2 + mode_std**2).sqrt()
    return skip * x + out * trained.network(torch.cat((inside * x, sigma.log()), -1))


def drawn(x: Tensor) -> tuple[Tensor, Tensor]:
    """The noise and the stratified noise levels that the loss draws for a batch x."""
    noise = source()
    eps = noise.normal(x)
    u = ((torch.arange(x.shape[-2]) + noise.uniform(x[..., 0])) / x.shape[-2])[..., None]
    return eps, (-0.5 + 1.5 * torch.special.ndtri(u)).exp()


def test_loss_is_the_weighted_denoising_error_of_the_paper() -> None:
    trained, x = method(), normal(3, 8, 2)
    eps, sigma = drawn(x)
    clean, noise = pairs(x, eps)
    sigma = torch.cat((sigma, sigma), -2)
    weight = (sigma**2 + 16) / (sigma * 4) ** 2
    error = (denoised(trained, clean + sigma * noise, sigma) - clean).square().sum(-1, keepdim=True)
    assert_close(trained.loss(x, source())["loss"], (weight * error).mean((-2, -1)))


@pytest.mark.parametrize(
    ("changes", "message"), [({"sigma_start": 10.0}, "above sigma_max"), ({"sigma_max": 0.05}, "from 0.05")]
)
def test_noise_levels_in_the_wrong_order_are_rejected(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Diffusion(domain(1), network={"width": 8, "depth": 2}, **{**SETTINGS, **changes})


@pytest.mark.parametrize("sigma", [0.01, 0.5, 50.0])
def test_score_is_tweedies_formula_of_the_denoiser(sigma: float) -> None:
    trained, x = method(), normal(3, 8, 2)
    level = torch.full((3, 8, 1), sigma).double()
    assert_close(trained.score_at(x, sigma), (denoised(trained, x, level) - x) / sigma**2, rtol=1e-6, atol=1e-6)


def test_noise_levels_are_log_normal() -> None:
    _, sigma = drawn(torch.zeros(1, 20_000, 2).double())
    assert sigma.log().mean() == approx(-0.5, abs=0.01) and sigma.log().std() == approx(1.5, abs=0.01)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_targets_of_the_network_have_unit_variance_for_isotropic_data(sigma: float) -> None:
    """F* = (x − c_skip y) / c_out for x ~ N(0, a² I) and y = x + σε."""
    x, noise = 4 * normal(100_000, 2), normal(100_000, 2, seed=2)
    variance = sigma**2 + 16
    target = (x - 16 / variance * (x + sigma * noise)) / (sigma * 4 / variance**0.5)
    assert target.std() == approx(1, abs=0.01)


def test_analytic_score_has_the_lowest_loss() -> None:
    x = torch.from_numpy(REFERENCE.sample(500, np.random.default_rng(0))[0])[None]

    def loss(factor: float) -> float:
        stubbed = method(1)

        def score(points: Tensor, sigma: Tensor) -> Tensor:
            rows = zip(points[0].numpy(), sigma[0, :, 0].numpy(), strict=True)
            return factor * torch.from_numpy(np.array([REFERENCE.smoothed(s).score(row[None])[0] for row, s in rows]))[None]

        stubbed._score = score  # type: ignore[method-assign]
        return stubbed.loss(x, source())["loss"].item()

    assert loss(1.0) < min(loss(0.8), loss(1.2), loss(0.0))


def test_velocity_is_that_of_the_path_for_the_learned_score() -> None:
    trained, x = method(), normal(3, 8, 2)
    a, b, a_slope, b_slope = trained.path(0.7)
    assert (a, b, a_slope, b_slope) == (1, approx(math.exp(0.7)), 0, b) and trained.time_of(b) == approx(0.7)
    assert_close(trained.velocity(x, 0.7), -b_slope * b * trained.score_at(x, b))
    exact = path.velocity(REFERENCE, trained.path(0.7), x[0].numpy())
    assert exact == approx(-(b**2) * REFERENCE.smoothed(b).score(x[0].numpy()))


def test_flow_starts_above_and_ends_at_the_evaluated_noise_levels() -> None:
    trained = method()
    assert trained.sigmas[0] == 10 and trained.sigmas[-1] == approx(0.1)
    assert [trained.start, trained.end, trained.times[0]] == approx([math.log(80), math.log(0.1), math.log(10)])
