"""Contrastive learning of an energy: its optimum, the excess loss of other energies, and negatives on the box."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.energy_contrastive import EnergyContrastive
from stages.mog.problem.gaussian_mixture import Mixture
from tests.plane import AREA, BOTTOM, LEFT, REFERENCE, RIGHT, TOP, domain, log_density, normal, source

COUNT = 150
X, Y = ((torch.arange(COUNT).double() + 0.5) / COUNT * (high - low) + low for low, high in ((LEFT, RIGHT), (BOTTOM, TOP)))
LATTICE = torch.stack(torch.meshgrid(X, Y, indexing="ij"), -1).reshape(1, -1, 2)
P = AREA / COUNT**2 * log_density(REFERENCE)(LATTICE).exp()
"""The probability of each cell of the box."""
Energy = Callable[[Tensor], Tensor]


def method(negatives: int = 4, copies: int = 3) -> EnergyContrastive:
    torch.manual_seed(0)
    return EnergyContrastive(domain(copies), network={"width": 16, "depth": 2}, negatives=negatives).double()


def optimum(mixture: Mixture = REFERENCE) -> Energy:
    """The energy − log p − log A that minimises the loss if the data comes from the mixture."""
    return lambda x: -log_density(mixture)(x) - math.log(AREA)


def population(energy: Energy) -> dict[str, float]:
    """The loss and its terms in expectation: uniform points on the lattice, data repeated in proportion to the density."""
    stubbed = method(copies=1)
    stubbed.energy = energy  # type: ignore[method-assign]
    stubbed.uniform = lambda like, source: LATTICE  # type: ignore[method-assign]
    shares = (P[0].cumsum(0) * 40_000).round().diff(prepend=torch.zeros(1)).long()
    data = LATTICE.repeat_interleave(shares, 1)
    return {name: value.item() for name, value in stubbed.loss(data, source()).items()}


def test_terms_at_the_optimum_are_one_and_the_entropy_relative_to_the_box() -> None:
    entropy = -(P * P.mul(COUNT**2 / AREA).log()).sum().item()
    parts = population(optimum())
    assert parts["negative"] == approx(1, abs=1e-4)
    assert parts["positive"] == approx(entropy - math.log(AREA), abs=1e-3)
    assert parts["loss"] == approx(parts["positive"] + parts["negative"])


def test_loss_at_the_optimum_is_stationary_in_an_additive_constant() -> None:
    constant = torch.zeros((), dtype=torch.float64, requires_grad=True)
    stubbed = method(copies=1)
    stubbed.energy = lambda x: optimum()(x) + constant  # type: ignore[method-assign]
    stubbed.uniform = lambda like, source: LATTICE  # type: ignore[method-assign]
    (gradient,) = torch.autograd.grad(stubbed.loss(normal(1, 8, 2), source())["loss"].sum(), constant)
    assert gradient.item() == approx(0, abs=1e-4)


@pytest.mark.parametrize(
    "departure",
    [lambda x: 0.5 + 0 * x[..., 0], lambda x: -0.5 + 0 * x[..., 0], lambda x: x[..., 0].sin(), lambda x: x[..., 1] / 5],
    ids=["raised", "lowered", "sine", "tilted"],
)
def test_excess_loss_is_the_bregman_divergence_from_the_optimum(departure: Energy) -> None:
    excess = population(lambda x: optimum()(x) + departure(x))["loss"] - population(optimum())["loss"]
    d = departure(LATTICE)
    expected = (P * ((-d).exp() - 1 + d)).sum().item()
    assert expected > 0.05
    assert excess == approx(expected, rel=0.01)


def test_excess_loss_of_wrong_mode_weights_is_their_kl_divergence() -> None:
    other = Mixture(REFERENCE.means, REFERENCE.covariances, [0.2, 0.2, 0.6])
    excess = population(optimum(other))["loss"] - population(optimum())["loss"]
    assert excess == approx((REFERENCE.weights * np.log(REFERENCE.weights / other.weights)).sum(), rel=0.02)


@pytest.mark.parametrize("level", [-1.0, 0.0, 2.0])
def test_loss_of_a_constant_energy_is_at_least_one(level: float) -> None:
    flat = method()
    with torch.no_grad():
        flat.network[-1].weight.zero_()
        flat.network[-1].bias.fill_(level)
    loss = flat.loss(normal(3, 8, 2), source())["loss"]
    assert_close(loss, torch.full((3,), level + math.exp(-level), dtype=torch.float64))
    assert (loss >= 1).all()


@pytest.mark.parametrize("negatives", [1, 4])
def test_loss_matches_its_definition(negatives: int) -> None:
    trained, x = method(negatives), normal(3, 7, 2)
    low, high = torch.tensor([[LEFT, BOTTOM], [RIGHT, TOP]]).double()
    uniform = low + (high - low) * source().uniform(torch.zeros(3, 7 * negatives, 2).double())
    positive, negative = trained.network(x)[..., 0], trained.network(uniform)[..., 0]
    expected = [
        sum(positive[s, i] for i in range(7)) / 7
        + sum(torch.exp(-negative[s, j]) for j in range(7 * negatives)) / 7 / negatives
        for s in range(3)
    ]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


def test_gradient_of_the_additive_constant_is_one_minus_the_negative_term() -> None:
    trained = method()
    parts = trained.loss(normal(3, 16, 2), source())
    parts["loss"].sum().backward()
    assert_close(trained.network[-1].bias.grad[:, 0, 0], 1 - parts["negative"])
