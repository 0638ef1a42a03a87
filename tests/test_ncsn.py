"""Noise-conditional score network: noise schedule, sampled noise levels, scaling of the network, and minimum loss."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from pytest import approx
from torch import Tensor, nn
from torch.testing import assert_close

from stages.methods.ncsn import Ncsn
from tests.plane import domain, normal, pairs, source

EXTENT = 5.0


def method(**changes: Any) -> Ncsn:
    """The method with default settings and changes of them."""
    torch.manual_seed(0)
    settings = {"sigma_max": 10.0, "sigma_min": 0.1, "levels": 12, "sigma": 0.5, "extent": EXTENT, "emphasis": 2.0}
    settings["mode_variance"] = 0.0
    return Ncsn(domain(), network={"width": 16, "depth": 2}, **{**settings, **changes}).double()


class Exact(nn.Module):
    """A network for which the score is that of N(0, v I), smoothed by σ, times a factor; it records σ and the points."""

    def __init__(self, variance: float, factor: float = 1) -> None:
        super().__init__()
        self.variance, self.factor = variance, factor

    def forward(self, inputs: Tensor) -> Tensor:
        self.sigma = 10 ** inputs[..., 2:]
        self.x = inputs[..., :2] * (EXTENT**2 + self.sigma**2).sqrt()
        return -self.factor * self.x / (self.variance + self.sigma**2) * (1 + self.sigma**2).sqrt()


def exact(variance: float, factor: float = 1, **changes: Any) -> Ncsn:
    """The method with the network `Exact`."""
    stubbed = method(**changes)
    stubbed.network = Exact(variance, factor)  # type: ignore[assignment]
    return stubbed


def test_noise_schedule_falls_geometrically_from_the_largest_to_the_smallest_sigma() -> None:
    sigmas = method().sigmas
    assert len(sigmas) == 12 and sigmas[0] == 10 and sigmas[-1] == approx(0.1)
    assert [b / a for a, b in itertools.pairwise(sigmas)] == approx([0.01 ** (1 / 11)] * 11)


def test_a_noise_schedule_of_one_level_is_the_largest_sigma() -> None:
    assert method(levels=1).sigmas == [10]


@pytest.mark.parametrize("emphasis", [1.0, 2.5])
def test_noise_levels_of_a_batch_are_stratified_in_a_power_of_log_sigma(emphasis: float) -> None:
    stubbed = exact(1.0, emphasis=emphasis)
    stubbed.loss(normal(3, 64, 2), source())
    assert (stubbed.network.sigma[:, :64] == stubbed.network.sigma[:, 64:]).all()
    scaled_u = 64 * ((stubbed.network.sigma[:, :64, 0] / 0.1).log10() / 2) ** (1 / emphasis)
    assert (scaled_u.floor() == torch.arange(64)).all()
    assert (scaled_u[0] != scaled_u[1]).any()


def test_a_larger_emphasis_samples_small_sigmas_more_often() -> None:
    def fraction_below_one(emphasis: float) -> float:
        stubbed = exact(1.0, emphasis=emphasis)
        stubbed.loss(normal(3, 1024, 2), source())
        return (stubbed.network.sigma < 1).double().mean().item()

    assert [fraction_below_one(emphasis) for emphasis in (0.5, 1, 2)] == approx([0.25, 0.5, 0.5**0.5], abs=1e-3)


def test_points_are_perturbed_at_the_noise_level_that_the_network_receives() -> None:
    stubbed, x = exact(1.0), normal(3, 16, 2)
    stubbed.loss(x, source())
    points, noise = pairs(x, source().normal(x))
    assert_close(stubbed.network.x, points + stubbed.network.sigma * noise)


@pytest.mark.parametrize("mode_variance", [0.0, 0.5])
def test_loss_matches_its_definition(mode_variance: float) -> None:
    trained, x, fresh = method(mode_variance=mode_variance), normal(3, 7, 2), source()
    noise = fresh.normal(x)
    u = (torch.arange(7) + fresh.uniform(x[..., 0])) / 7
    expected = torch.zeros(3).double()
    for s, i in itertools.product(range(3), range(7)):
        sigma = 0.1 * 100 ** u[s, i].item() ** 2
        for sign in (1, -1):
            score = trained.score_at(x + sign * sigma * noise, sigma)[s, i]
            error = (score + sign * noise[s, i] / sigma).square().sum()
            expected[s] += (sigma**2 + mode_variance) * error / 14
    assert_close(trained.loss(x, source())["loss"], expected)


def test_loss_of_a_zero_network_is_the_mean_square_of_the_noise() -> None:
    x = normal(3, 16, 2)
    assert_close(exact(1.0, 0).loss(x, source())["loss"], source().normal(x).square().sum(-1).mean(-1))


@pytest.mark.parametrize("variance", [0.01, 1.0, 25.0])
def test_true_score_of_a_gaussian_has_the_minimum_loss_averaged_over_levels(variance: float) -> None:
    x = variance**0.5 * normal(3, 20_000, 2)
    sigma = 0.1 * 100 ** torch.linspace(0, 1, 1001) ** 2
    minimum = (2 * variance / (variance + sigma**2)).mean().item()
    losses = {factor: exact(variance, factor).loss(x, source())["loss"].mean().item() for factor in (0.9, 1, 1.1)}
    assert losses[1] == approx(minimum, rel=0.02)
    assert losses[1] < min(losses[0.9], losses[1.1])


def test_loss_at_one_noise_level_is_sigma_squared_times_the_denoising_loss() -> None:
    trained, x = method(sigma_max=0.7, sigma_min=0.7), normal(3, 16, 2)
    points, noise = pairs(x, source().normal(x))
    expected = (trained.score_at(points + 0.7 * noise, 0.7) + noise / 0.7).square().sum(-1).mean(-1)
    assert_close(trained.loss(x, source())["loss"], 0.7**2 * expected)


def test_score_is_the_one_at_the_sigma_of_the_landscape() -> None:
    trained, x = method(), normal(3, 16, 2)
    assert (trained.score(x) == trained.score_at(x, 0.5)).all()
    assert (trained.score(x) != trained.score_at(x, 0.6)).all()


@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_inputs_and_outputs_of_the_network_are_of_order_one(sigma: float) -> None:
    stubbed, recorded = exact(EXTENT**2), []
    stubbed.network.register_forward_hook(lambda _, inputs, output: recorded.extend((inputs[0][..., :2], output)))
    noisy = (EXTENT**2 + sigma**2) ** 0.5 * normal(3, 2000, 2)
    stubbed.score_at(noisy, sigma)
    inputs, outputs = (values.std().item() for values in recorded)
    assert inputs == approx(1, abs=0.05)
    assert 0.15 < outputs < 1.05
