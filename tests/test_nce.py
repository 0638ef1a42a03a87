"""Noise-contrastive estimation: classifier, optimum, normalisation, gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from stages.methods.nce import Nce
from tests.plane import REFERENCE, domain, log_density, normal, source


def method(negatives: int = 3, std: float = 6.0, copies: int = 1) -> Nce:
    torch.manual_seed(0)
    return Nce(domain(copies), network={"width": 8, "depth": 2}, negatives=negatives, negative_std=std).double()


def with_energy(energy: Any, negatives: int = 3) -> Nce:
    """The method with another energy in place of its network's."""
    stubbed = method(negatives)
    stubbed.energy = energy  # type: ignore[method-assign]
    return stubbed


def samples(count: int = 20_000) -> Tensor:
    return torch.from_numpy(REFERENCE.sample(count, np.random.default_rng(1))[0])[None]


def truth(x: Tensor) -> Tensor:
    return -log_density(REFERENCE)(x)


def loss(trained: Nce, x: Tensor) -> float:
    with torch.no_grad():
        return trained.loss(x, source())["loss"].item()


def test_loss_matches_binary_cross_entropy() -> None:
    trained, x = method(copies=3), normal(3, 5, 2)
    noise = torch.special.ndtri(torch.rand((3, 15, 2), generator=source().generator, dtype=x.dtype))
    q = MultivariateNormal(torch.zeros(2).double(), 36 * torch.eye(2).double())

    def logit(points: Tensor) -> Tensor:
        return -trained.energy(points) - q.log_prob(points) - math.log(3)

    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    expected = [
        entropy(logit(x)[s], torch.ones(5).double()) + 3 * entropy(logit(6 * noise)[s], torch.zeros(15).double())
        for s in range(3)
    ]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


@pytest.mark.parametrize(
    "other",
    [lambda x: truth(x) + 0.3, lambda x: truth(x) - 0.3, lambda x: 1.1 * truth(x), lambda x: truth(x) + 0.3 * x[..., 0].sin()],
    ids=["higher by a constant", "lower by a constant", "scaled", "bent"],
)
@pytest.mark.parametrize("negatives", [1, 8])
def test_true_negative_log_density_has_the_lowest_loss(other: Any, negatives: int) -> None:
    x = samples()
    assert loss(with_energy(truth, negatives), x) < loss(with_energy(other, negatives), x)


def test_loss_of_the_density_of_the_negatives_is_that_of_guessing() -> None:
    """G = −log ν: −log σ(−log ν) − ν log σ(log ν)."""
    guess = method(negatives=4)
    guess.energy = lambda x: -guess._log_negative(x)  # type: ignore[method-assign]
    assert loss(guess, samples(100)) == approx(math.log(5) + 4 * math.log(5 / 4))


def test_density_of_the_negatives_is_normal() -> None:
    x = normal(1, 10, 2)
    expected = MultivariateNormal(torch.zeros(2).double(), 36 * torch.eye(2).double()).log_prob(x)
    assert_close(method()._log_negative(x), expected)


def test_untrained_density_is_that_of_the_negatives_times_the_network() -> None:
    trained, x = method(), normal(1, 10, 2)
    assert_close(trained.log_likelihood(x), trained._log_negative(x) - trained.network(x).squeeze(-1))
    assert_close(trained.log_likelihood(x), -trained.energy(x))
