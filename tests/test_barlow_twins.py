"""Barlow Twins: reference implementation, limit cases and invariances."""

from __future__ import annotations

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from torch import nn
from torch.testing import assert_close

from stages.methods.barlow_twins import BarlowTwins, standardised
from tests.plane import domain, normal, source


def method(redundancy: float = 0.0051, noise: float = 0.3) -> BarlowTwins:
    torch.manual_seed(0)
    encoder = {"width": 8, "depth": 2, "dim": 4}
    return BarlowTwins(domain(), view={"noise": noise}, encoder=encoder, redundancy=redundancy).double()


def white(count: int = 32) -> torch.Tensor:
    """Embeddings (3, count, 2) with exactly unit variances and zero correlations."""
    z = normal(3, count, 2)
    orthonormal, _ = torch.linalg.qr(z - z.mean(1, keepdim=True))
    return count**0.5 * orthonormal


@pytest.mark.parametrize("redundancy", [0.0051, 1.0])
def test_loss_equals_lightlys_in_value_and_gradient(redundancy: float) -> None:
    trained, x = method(redundancy), normal(3, 16, 2)
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(10)  # against the 10⁻⁵ that is added to the variance
    noise = source()
    views = [trained.encoder(x + 0.3 * noise.normal(x)) for _ in range(2)]
    reference = BarlowTwinsLoss(lambda_param=redundancy)
    expected = torch.stack([reference(first, second) for first, second in zip(*views, strict=True)])
    ours = trained.loss(x, source())["loss"]
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    gradients = (torch.autograd.grad(loss.sum(), list(trained.parameters())) for loss in (ours, expected))
    assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_constant_embeddings_have_the_loss_d() -> None:
    trained = method()
    with torch.no_grad():
        trained.encoder[-1].weight.zero_()
    parts = trained.loss(normal(3, 16, 2), source())
    assert_close(parts["loss"], torch.full((3,), 4.0).double())
    assert (parts["redundancy"] == 0).all()


def test_loss_of_equal_uncorrelated_views_is_zero() -> None:
    perfect = method(noise=0)
    perfect.encoder = nn.Identity()
    assert_close(perfect.loss(white(), source())["loss"], torch.zeros(3).double(), rtol=0, atol=1e-9)


def test_copies_of_one_coordinate_are_redundant() -> None:
    copies = method(redundancy=0.5, noise=0)
    copies.encoder = nn.Identity()
    parts = copies.loss(white()[..., :1].expand(3, 32, 3), source())
    assert_close(parts["redundancy"], torch.full((3,), 6.0).double(), rtol=1e-4, atol=0)
    assert_close(parts["loss"], 0.5 * parts["redundancy"] + parts["invariance"])


def test_scales_and_shifts_of_coordinates_do_not_change_the_loss() -> None:
    x = normal(3, 16, 2)
    trained = method()
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(100)
    before = trained.loss(x, source())["loss"].detach()
    with torch.no_grad():
        factors = torch.tensor([0.5, 2.0, 3.0, -1.0])
        trained.encoder[-1].weight.mul_(factors)
        trained.encoder[-1].bias.mul_(factors).add_(7)
    assert_close(trained.loss(x, source())["loss"], before, rtol=1e-5, atol=1e-5)


def test_standardised_embeddings_have_mean_zero_and_variance_one() -> None:
    z = standardised(5 + 3 * normal(3, 64, 4))
    assert_close(z.mean(-2), torch.zeros(3, 4).double(), rtol=0, atol=1e-9)
    assert_close(z.var(-2, correction=0), torch.ones(3, 4).double(), rtol=1e-5, atol=0)
