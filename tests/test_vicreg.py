"""VICReg: its oracle, its limit cases, and what each of its three terms sees."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import VICRegLoss
from torch import Tensor, nn
from torch.testing import assert_close

from stages.methods.vicreg import Vicreg, covariance_penalty, variance_hinge
from tests.plane import domain, normal, source


def method(noise: float = 0.3, invariance: float = 25, variance: float = 25, covariance: float = 1) -> Vicreg:
    torch.manual_seed(0)
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return Vicreg(domain(), view={"noise": noise}, encoder={"width": 8, "depth": 2, "dim": 4}, **weights).double()


def scaled(trained: Vicreg, factor: float) -> Vicreg:
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(factor)
    return trained


def views(trained: Vicreg, x: Tensor) -> tuple[Tensor, Tensor]:
    drawn = source()
    return trained.encoder(x + 0.3 * drawn.normal(x)), trained.encoder(x + 0.3 * drawn.normal(x))


def white(count: int = 32, dim: int = 2) -> Tensor:
    """Embeddings (3, count, dim) with unit variances and no correlations, exactly."""
    z = normal(3, count, dim)
    orthonormal, _ = torch.linalg.qr(z - z.mean(1, keepdim=True))
    return (count - 1) ** 0.5 * orthonormal


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0], ids=["all below the floor", "some", "none"])
@pytest.mark.parametrize("weights", [(25, 25, 1), (1, 2, 3)])
def test_it_is_lightlys_loss_in_value_and_gradient(scale: float, weights: tuple[float, float, float]) -> None:
    trained, x = scaled(method(0.3, *weights), scale), normal(3, 16, 2)
    oracle = VICRegLoss(*weights)
    expected = torch.stack([oracle(first, second) for first, second in zip(*views(trained, x), strict=True)])
    ours = trained.loss(x, source())["loss"]
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    gradients = (torch.autograd.grad(loss.sum(), list(trained.parameters())) for loss in (ours, expected))
    assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_constant_embeddings_cost_nearly_the_whole_floor_and_nothing_else() -> None:
    parts = scaled(method(), 0).loss(normal(3, 16, 2), source())
    assert_close(parts["loss"], torch.full((3,), 24.75, dtype=torch.float64))
    assert_close(parts["variance"], torch.full((3,), 0.99, dtype=torch.float64))
    assert (parts["invariance"] == 0).all() and (parts["covariance"] == 0).all()


def test_equal_white_views_cost_nothing() -> None:
    perfect = method(noise=0)
    perfect.encoder = nn.Identity()
    assert_close(perfect.loss(white(), source())["loss"], torch.zeros(3).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kept", ["invariance", "variance", "covariance"])
def test_with_one_weight_alone_the_loss_is_that_term(kept: str) -> None:
    only = method(**{"invariance": 0.0, "variance": 0.0, "covariance": 0.0, kept: 3.0})
    parts = only.loss(normal(3, 16, 2), source())
    assert_close(parts["loss"], 3 * parts[kept])


def test_the_invariance_is_the_mean_squared_difference_of_the_views() -> None:
    trained, x = method(), normal(3, 16, 2)
    first, second = views(trained, x)
    assert_close(trained.loss(x, source())["invariance"], (first - second).square().mean((1, 2)))
    assert (method(noise=0).loss(x, source())["invariance"] == 0).all()


@pytest.mark.parametrize(("std", "expected"), [(0, 0.99), (0.5, 1 - 0.2501**0.5), (1, 0), (7, 0)])
def test_the_hinge_asks_for_unit_deviation_and_no_more(std: float, expected: float) -> None:
    assert_close(variance_hinge(std * white()), torch.full((3,), expected, dtype=torch.float64), rtol=0, atol=1e-9)


def test_the_hinge_averages_over_coordinates_and_a_wide_one_does_not_pay_for_a_narrow_one() -> None:
    wide_and_constant = white() * torch.tensor([9, 0])
    assert_close(variance_hinge(wide_and_constant), torch.full((3,), 0.495, dtype=torch.float64))


def test_the_hinge_does_not_see_correlation_nor_the_penalty_the_variances() -> None:
    z = white(dim=1)
    assert_close(variance_hinge(z.expand(3, 32, 4)), torch.zeros(3).double(), rtol=0, atol=1e-9)
    assert_close(covariance_penalty(white() * torch.tensor([9, 0.1])), torch.zeros(3).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_equal_coordinates_pay_the_square_of_their_variance_for_every_other_one(dim: int) -> None:
    equal = 2 * white(dim=1).expand(3, 32, dim)
    assert_close(covariance_penalty(equal), torch.full((3,), (dim - 1) * 4.0**2, dtype=torch.float64))


def test_the_penalty_is_the_sum_of_the_squared_off_diagonal_covariances() -> None:
    z = normal(3, 16, 4)
    covariances = [torch.cov(one.T) for one in z]
    expected = [sum(c[d, e] ** 2 for d in range(4) for e in range(4) if d != e) / 4 for c in covariances]
    assert_close(covariance_penalty(z), torch.stack(expected))


def test_a_shift_of_all_embeddings_changes_nothing() -> None:
    before = method().loss(normal(3, 16, 2), source())["loss"]
    shifted = method()
    with torch.no_grad():
        shifted.encoder[-1].bias.add_(100)
    assert_close(shifted.loss(normal(3, 16, 2), source())["loss"], before)
