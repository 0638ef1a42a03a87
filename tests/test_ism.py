"""Implicit score matching: closed form on a Gaussian, trace, minimiser, excess loss, and unboundedness on a single point."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.ism import Ism
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.noise import FixedNoise
from tests.plane import REFERENCE, domain, log_density, normal

C = torch.tensor([[2, 0.6], [0.6, 0.5]]).double()
MU = torch.tensor([3.0, -1]).double()
NO_NOISE = FixedNoise(torch.zeros(0, 1, 2), torch.zeros(1, 2))


def method(depth: int = 2, copies: int = 3) -> Ism:
    torch.manual_seed(0)
    return Ism(domain(copies), network={"width": 16, "depth": depth}).double()


def linear(matrix: Tensor, offset: Tensor) -> Ism:
    """The method with the score A x + b."""
    affine = method(depth=0, copies=1)
    with torch.no_grad():
        affine.network[0].weight.copy_(matrix.T)
        affine.network[0].bias.copy_(offset)
    return affine


def four_points() -> Tensor:
    """Points (1, 4, 2) with exactly the mean MU and the covariance C."""
    root = 2**0.5 * torch.linalg.cholesky(C).T
    return (MU + torch.cat((root, -root)))[None]


def true_score(mixture: Mixture) -> Callable[[Tensor], Tensor]:
    return torch.func.grad(lambda x: log_density(mixture)(x).sum())


def loss_with(score: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The loss of a score and its Jacobian at points x (1, N, 2)."""
    stubbed = method(copies=1)
    jacobian = torch.func.vmap(torch.func.vmap(torch.func.jacrev(score)))
    stubbed.network.with_jacobian = lambda x: (score(x), jacobian(x).movedim(-1, 0))  # type: ignore[method-assign]
    return stubbed.loss(x, NO_NOISE)["loss"].item()


def samples(mixture: Mixture) -> Tensor:
    return torch.from_numpy(mixture.sample(20_000, np.random.default_rng(1))[0])[None]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_loss_of_a_linear_score_has_its_closed_form(seed: int) -> None:
    a = normal(2, 2, seed=seed)
    expected = (a @ C @ a.T).trace() / 2 - a.trace()
    assert_close(linear(-a, a @ MU).loss(four_points(), NO_NOISE)["loss"][0], expected)


def test_loss_terms_of_the_score_of_a_gaussian_have_their_closed_form() -> None:
    precision = torch.linalg.inv(C)
    parts = linear(-precision, precision @ MU).loss(four_points(), NO_NOISE)
    assert_close(parts["norm"][0], precision.trace() / 2)
    assert_close(parts["divergence"][0], -precision.trace())


def test_gradient_vanishes_at_the_score_of_a_gaussian() -> None:
    precision = torch.linalg.inv(C)
    optimum = linear(-precision, precision @ MU)
    optimum.loss(four_points(), NO_NOISE)["loss"].sum().backward()
    assert_close(
        [p.grad for p in optimum.parameters()], [torch.zeros_like(p) for p in optimum.parameters()], rtol=0, atol=1e-12
    )


def test_loss_and_gradient_match_reverse_mode_derivatives() -> None:
    trained, x = method(), normal(3, 16, 2).requires_grad_()
    parts = trained.loss(x, NO_NOISE)
    score = trained.network(x)
    rows = [torch.autograd.grad(score[..., i].sum(), x, create_graph=True)[0] for i in (0, 1)]
    trace = rows[0][..., 0] + rows[1][..., 1]
    assert_close(parts["norm"], score.square().sum(-1).mean(-1) / 2)
    assert_close(parts["divergence"], trace.mean(-1))
    expected = (score.square().sum(-1) / 2 + trace).mean(-1)
    assert_close(parts["loss"], expected)
    *others, constant = trained.parameters()
    ours, reference = (torch.autograd.grad(loss.sum(), others, retain_graph=True) for loss in (parts["loss"], expected))
    assert_close(ours, reference)
    assert all(p.abs().sum() > 0 for p in ours) and torch.autograd.grad(parts["norm"].sum(), constant)[0].abs().sum() > 0


@pytest.mark.parametrize(("sigma", "squared_norm"), [(0.3, 3.349), (1.0, 1.132)])
def test_loss_of_the_true_score_is_minus_half_its_mean_square(sigma: float, squared_norm: float) -> None:
    smooth = REFERENCE.smoothed(sigma)
    assert loss_with(true_score(smooth), samples(smooth)) == approx(-squared_norm / 2, rel=0.05)


@pytest.mark.parametrize("error", [torch.ones_like, torch.tanh, lambda x: x / 5], ids=["constant", "tanh", "linear"])
def test_excess_loss_is_half_the_fisher_divergence(error: Callable[[Tensor], Tensor]) -> None:
    true, x = true_score(REFERENCE), samples(REFERENCE)
    excess = loss_with(lambda x: true(x) + error(x), x) - loss_with(true, x)
    assert excess == approx(error(x).square().sum(-1).mean().item() / 2, rel=0.05)


def test_losses_of_the_zero_and_the_negated_score_have_their_closed_form() -> None:
    true, x = true_score(REFERENCE), samples(REFERENCE)
    assert loss_with(lambda x: 0 * x, x) == 0
    assert loss_with(lambda x: -true(x), x) == approx(-3 * loss_with(true, x), rel=0.05)


@pytest.mark.parametrize("steepness", [1.0, 10.0, 1e6])
def test_loss_on_a_single_point_is_unbounded_below(steepness: float) -> None:
    steep = linear(-steepness * torch.eye(2).double(), steepness * MU)
    assert steep.loss(MU.repeat(1, 5, 1), NO_NOISE)["loss"].item() == approx(-2 * steepness)
