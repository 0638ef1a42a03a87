"""SIGReg: the Epps-Pulley statistic of normal and other samples, limit cases, and the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytest import approx
from scipy.integrate import quad
from torch import Tensor, nn
from torch.testing import assert_close

from stages.methods.sigreg import Sigreg, epps_pulley
from tests.plane import domain, normal, source


def method(weight: float = 0.1, noise: float = 0.3, directions: int = 5) -> Sigreg:
    torch.manual_seed(0)
    return Sigreg(
        domain(),
        view={"noise": noise},
        encoder={"width": 8, "depth": 2, "dim": 4},
        weight=weight,
        directions=directions,
    )


def points(count: int = 16) -> Tensor:
    return normal(3, count, 2).float()


def normality(z: Tensor) -> Tensor:
    """The normality term of embeddings (3, B, 2), per seed."""
    identity = method(noise=0, directions=64)
    identity.encoder = nn.Identity()
    return identity.loss(z.float(), source())["normality"]


@pytest.mark.parametrize("count", [1, 2, 16, 256])
def test_expected_statistic_of_normal_samples_does_not_depend_on_their_number(count: int) -> None:
    assert epps_pulley(normal(count, 10_000)).mean().item() == approx(1.053, rel=0.05)


@pytest.mark.parametrize("count", [1, 16, 256])
def test_statistic_of_zero_samples_is_proportional_to_their_number(count: int) -> None:
    assert epps_pulley(torch.zeros(count, 3).double()).tolist() == approx([0.402 * count] * 3, rel=1e-3)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.2, 0), (2, 0), (1, 1)])
def test_statistic_is_the_integral_over_the_empirical_characteristic_function(scale: float, shift: float) -> None:
    z = scale * normal(20, 1) + shift
    samples = z[:, 0].numpy()

    def integrand(t: float) -> float:
        return abs(np.exp(1j * t * samples).mean() - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    assert epps_pulley(z).item() == approx(20 * quad(integrand, -3, 3)[0], rel=5e-3)


def test_statistic_is_invariant_to_the_order_and_the_sign_of_samples() -> None:
    z = normal(20, 6)
    assert_close(epps_pulley(z.flip(0)), epps_pulley(z))
    assert_close(epps_pulley(-z), epps_pulley(z))


def test_statistic_is_computed_separately_for_each_column() -> None:
    z = normal(3, 20, 6)
    assert_close(epps_pulley(z)[1, 4], epps_pulley(z[1, :, 4:5])[0])


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 50.0])
def test_statistic_of_constant_samples_is_at_least_that_of_zeros(value: float) -> None:
    assert epps_pulley(torch.full((64, 1), value).double()).item() >= 0.402 * 64 * 0.999


def test_normality_term_is_lowest_for_standard_normal_embeddings() -> None:
    z = normal(3, 1000, 2)
    line = z[..., :1].expand(3, 1000, 2)
    lowest = normality(z)
    assert (lowest < 3).all()
    assert all((normality(other) > 10 * lowest).all() for other in (z / 2, 2 * z, z + 1, line, z.sign(), 0 * z))


def test_normality_term_of_a_collapsed_encoder_is_proportional_to_the_batch_size() -> None:
    collapsed = method()
    with torch.no_grad():
        collapsed.encoder[-1].weight.zero_()
        collapsed.encoder[-1].bias.zero_()
    for count in (16, 64):
        assert collapsed.loss(points(count), source())["normality"].tolist() == approx([0.402 * count] * 3, rel=1e-3)


def test_loss_matches_its_definition() -> None:
    trained, x, noise = method(), points(), source()
    first, second = (trained.encoder(x + 0.3 * noise.normal(x)) for _ in range(2))
    directions = F.normalize(torch.randn((4, 5), generator=noise.generator), dim=0)
    invariance = (first - second).square().mean((1, 2))
    statistics = torch.stack([epps_pulley(z @ u[:, None])[..., 0] for z in (first, second) for u in directions.T])
    assert_close(trained.loss(x, source())["loss"], 0.9 * invariance + 0.1 * statistics.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("weight", "term"), [(0, "invariance"), (1, "normality")])
def test_loss_with_weight_zero_or_one_is_a_single_term(weight: float, term: str) -> None:
    parts = method(weight).loss(points(), source())
    assert (parts["loss"] == parts[term]).all()


def test_invariance_term_of_equal_views_is_zero() -> None:
    assert (method(noise=0).loss(points(), source())["invariance"] == 0).all()


@pytest.mark.parametrize(("scale", "widens"), [(0.1, True), (5, False)])
def test_gradient_descent_widens_narrow_samples_and_contracts_wide_ones(scale: float, widens: bool) -> None:
    z = (scale * normal(64, 3)).requires_grad_()
    (slope,) = torch.autograd.grad(epps_pulley(z).sum(), z)
    assert ((-slope * z).sum(0) > 0).tolist() == [widens] * 3


def test_normality_term_alone_trains_the_encoder() -> None:
    trained = method(weight=1)
    trained.loss(points(), source())["loss"].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in trained.parameters())
