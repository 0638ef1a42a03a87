"""InfoNCE with a bilinear critic: its pairs, the optimum that it can represent, and the score that it implies."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from stages.methods.contrastive_critic import ContrastiveCritic
from stages.nn.losses import info_nce
from tests.plane import REFERENCE, domain, log_density, normal, slope, source

NOISE = 0.5


def method(noise: float = NOISE, copies: int = 3, features: int = 4) -> ContrastiveCritic:
    torch.manual_seed(0)
    network = {"width": 16, "depth": 2}
    return ContrastiveCritic(domain(copies), view={"noise": noise}, network=network, features=features).double()


class Function(nn.Module):
    """A function in place of a network with one copy."""

    copies = 1

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.forward = function


def optimal() -> ContrastiveCritic:
    """The method whose critic is − ‖x' − x‖²/2s² − log p_s(x'), the PMI up to a function of x."""
    optimum = method(copies=1, features=2)
    marginal = log_density(REFERENCE.smoothed(NOISE))
    optimum.first = Function(lambda x: x / NOISE**2)  # type: ignore[assignment]
    optimum.second = Function(  # type: ignore[assignment]
        lambda x: torch.cat((x, (-x.square().sum(-1) / (2 * NOISE**2) - marginal(x)).unsqueeze(-1)), -1)
    )
    return optimum


def pairs(count: int = 64) -> tuple[Tensor, Tensor]:
    """Points of the reference mixture and noisy views of them, (1, count, 2) each."""
    x = torch.from_numpy(REFERENCE.sample(count, np.random.default_rng(1))[0])[None]
    return x, x + NOISE * normal(*x.shape)


def test_critic_is_bilinear_in_the_features_of_all_pairs() -> None:
    trained, x, other = method(), normal(3, 6, 2), normal(3, 5, 2, seed=2)
    critic = trained.critic(x, other)
    assert critic.shape == (3, 6, 5)
    g, h = trained.first(x), trained.second(other)
    for i in range(6):
        for j in range(5):
            assert_close(critic[:, i, j], sum(g[:, i, k] * h[:, j, k] for k in range(4)) + h[:, j, 4])


def test_loss_is_info_nce_of_a_clean_and_a_noisy_view() -> None:
    trained, x = method(), normal(3, 6, 2)
    critic = trained.critic(x, x + NOISE * source().normal(x))
    expected = [sum(torch.logsumexp(c[i], 0) - c[i, i] for i in range(6)) / 6 for c in critic]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))
    assert not trained.both_noisy


def test_critic_can_represent_pmi_up_to_a_function_of_the_first_view() -> None:
    x, other = pairs()
    truth = torch.from_numpy(REFERENCE.pointwise_mutual_information(x[0, :, None], other[0], 0, NOISE))
    difference = optimal().critic(x, other)[0] - truth
    assert_close(difference, difference[:, :1].expand(64, 64), rtol=0, atol=1e-8)
    assert_close(info_nce(optimal().critic(x, other))[0], info_nce(truth))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: 0.7 * x,
        lambda x: 1.3 * x,
        lambda x: torch.cat((x[..., :-1], 0 * x[..., -1:]), -1),
        lambda x: x + 0.3 * x.sin(),
    ],
    ids=["scaled down", "scaled up", "without the marginal", "nonlinear"],
)
def test_changing_the_second_features_of_the_optimal_critic_raises_the_loss(change: Callable[[Tensor], Tensor]) -> None:
    x, _ = pairs(1024)
    batches = x.reshape(16, 64, 2)
    best, changed = optimal(), optimal()
    changed.second = Function(lambda x: change(optimal().second(x)))  # type: ignore[assignment]
    assert changed.loss(batches, source())["loss"].mean() > best.loss(batches, source())["loss"].mean() + 0.01


def test_score_of_the_optimal_critic_is_that_of_the_noisy_density() -> None:
    _, noisy = pairs()
    expected = REFERENCE.smoothed(NOISE).score(noisy.numpy())
    assert_close(optimal().score(noisy), torch.from_numpy(expected), rtol=1e-8, atol=1e-8)


def test_score_is_minus_the_critics_gradient_in_the_second_view_at_equality() -> None:
    trained, x = method(), normal(3, 16, 2)
    expected = -slope(lambda other: trained.critic(x, other).diagonal(dim1=1, dim2=2), x)
    assert_close(trained.score(x), expected, rtol=1e-6, atol=1e-8)
    assert trained.sigma == NOISE


def test_constant_features_have_loss_log_b() -> None:
    collapsed = method()
    with torch.no_grad():
        collapsed.second[-1].weight.zero_()
    expected = torch.full((3,), math.log(32), dtype=torch.float64)
    assert_close(collapsed.loss(normal(3, 32, 2), source())["loss"], expected)


def test_bias_of_the_second_features_changes_neither_loss_nor_score() -> None:
    trained, shifted, x = method(), method(), normal(3, 16, 2)
    with torch.no_grad():
        shifted.second[-1].bias.add_(normal(3, 1, 5))
    assert (trained.critic(x, x) - shifted.critic(x, x)).abs().min() > 1e-3
    assert_close(shifted.loss(x, source())["loss"], trained.loss(x, source())["loss"])
    assert_close(shifted.score(x), trained.score(x))
