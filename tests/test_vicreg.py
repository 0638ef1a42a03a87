"""VICReg: reference implementation, limit cases, and the three terms."""

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
    """Scale the last weight matrix of the encoder, and with it the spread of the embeddings."""
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(factor)
    return trained


def views(trained: Vicreg, x: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of two noisy views, with the noise of `source`."""
    noise = source()
    return trained.encoder(x + 0.3 * noise.normal(x)), trained.encoder(x + 0.3 * noise.normal(x))


def white(count: int = 32, dim: int = 2) -> Tensor:
    """Embeddings (3, count, dim) with exactly unit variances and zero correlations."""
    z = normal(3, count, dim)
    orthonormal, _ = torch.linalg.qr(z - z.mean(1, keepdim=True))
    return (count - 1) ** 0.5 * orthonormal


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0], ids=["all stds below one", "some stds below one", "no std below one"])
@pytest.mark.parametrize("weights", [(25, 25, 1), (1, 2, 3)])
def test_loss_equals_lightlys_in_value_and_gradient(scale: float, weights: tuple[float, float, float]) -> None:
    trained, x = scaled(method(0.3, *weights), scale), normal(3, 16, 2)
    reference = VICRegLoss(*weights)
    expected = torch.stack([reference(first, second) for first, second in zip(*views(trained, x), strict=True)])
    ours = trained.loss(x, source())["loss"]
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    gradients = (torch.autograd.grad(loss.sum(), list(trained.parameters())) for loss in (ours, expected))
    assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_loss_of_constant_embeddings_is_the_variance_term_alone() -> None:
    parts = scaled(method(), 0).loss(normal(3, 16, 2), source())
    assert_close(parts["loss"], torch.full((3,), 24.75, dtype=torch.float64))
    assert_close(parts["variance"], torch.full((3,), 0.99, dtype=torch.float64))
    assert (parts["invariance"] == 0).all() and (parts["covariance"] == 0).all()


def test_loss_of_equal_whitened_views_is_zero() -> None:
    perfect = method(noise=0)
    perfect.encoder = nn.Identity()
    assert_close(perfect.loss(white(), source())["loss"], torch.zeros(3).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("term", ["invariance", "variance", "covariance"])
def test_loss_with_a_single_nonzero_weight_is_that_term(term: str) -> None:
    only = method(**{"invariance": 0.0, "variance": 0.0, "covariance": 0.0, term: 3.0})
    parts = only.loss(normal(3, 16, 2), source())
    assert_close(parts["loss"], 3 * parts[term])


def test_invariance_term_is_the_mean_squared_difference_of_the_views() -> None:
    trained, x = method(), normal(3, 16, 2)
    first, second = views(trained, x)
    assert_close(trained.loss(x, source())["invariance"], (first - second).square().mean((1, 2)))
    assert (method(noise=0).loss(x, source())["invariance"] == 0).all()


@pytest.mark.parametrize(("std", "expected"), [(0, 0.99), (0.5, 1 - 0.2501**0.5), (1, 0), (7, 0)])
def test_variance_hinge_is_zero_from_unit_standard_deviation_upwards(std: float, expected: float) -> None:
    assert_close(variance_hinge(std * white()), torch.full((3,), expected, dtype=torch.float64), rtol=0, atol=1e-9)


def test_wide_coordinates_do_not_offset_constant_ones_in_the_variance_hinge() -> None:
    wide_and_constant = white() * torch.tensor([9, 0])
    assert_close(variance_hinge(wide_and_constant), torch.full((3,), 0.495, dtype=torch.float64))


def test_variance_hinge_ignores_correlation_and_covariance_penalty_ignores_variances() -> None:
    z = white(dim=1)
    assert_close(variance_hinge(z.expand(3, 32, 4)), torch.zeros(3).double(), rtol=0, atol=1e-9)
    assert_close(covariance_penalty(white() * torch.tensor([9, 0.1])), torch.zeros(3).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_covariance_penalty_of_equal_coordinates_has_its_closed_form(dim: int) -> None:
    equal = 2 * white(dim=1).expand(3, 32, dim)
    assert_close(covariance_penalty(equal), torch.full((3,), (dim - 1) * 4.0**2, dtype=torch.float64))


def test_covariance_penalty_is_the_sum_of_squared_off_diagonal_covariances() -> None:
    z = normal(3, 16, 4)
    covariances = [torch.cov(one.T) for one in z]
    expected = [sum(c[d, e] ** 2 for d in range(4) for e in range(4) if d != e) / 4 for c in covariances]
    assert_close(covariance_penalty(z), torch.stack(expected))


def test_loss_is_invariant_to_a_shift_of_all_embeddings() -> None:
    before = method().loss(normal(3, 16, 2), source())["loss"]
    shifted = method()
    with torch.no_grad():
        shifted.encoder[-1].bias.add_(100)
    assert_close(shifted.loss(normal(3, 16, 2), source())["loss"], before)
