"""SIGReg: the value of its test of normality on what is normal and what is not, its oracle, its limit cases."""

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
    """What embeddings (3, B, 2) pay for not being standard normal."""
    bare = method(noise=0, directions=64)
    bare.encoder = nn.Identity()
    return bare.loss(z.float(), source())["normality"]


@pytest.mark.parametrize("count", [1, 2, 16, 256])
def test_standard_normal_samples_have_the_same_expectation_whatever_their_number(count: int) -> None:
    assert epps_pulley(normal(count, 10_000)).mean().item() == approx(1.053, rel=0.05)


@pytest.mark.parametrize("count", [1, 16, 256])
def test_samples_that_are_all_zero_pay_in_proportion_to_their_number(count: int) -> None:
    assert epps_pulley(torch.zeros(count, 3).double()).tolist() == approx([0.402 * count] * 3, rel=1e-3)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.2, 0), (2, 0), (1, 1)])
def test_it_is_the_integral_over_the_empirical_characteristic_function(scale: float, shift: float) -> None:
    z = scale * normal(20, 1) + shift
    samples = z[:, 0].numpy()

    def integrand(t: float) -> float:
        return abs(np.exp(1j * t * samples).mean() - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    assert epps_pulley(z).item() == approx(20 * quad(integrand, -3, 3)[0], rel=5e-3)


def test_the_order_and_the_sign_of_samples_do_not_matter() -> None:
    z = normal(20, 6)
    assert_close(epps_pulley(z.flip(0)), epps_pulley(z))
    assert_close(epps_pulley(-z), epps_pulley(z))


def test_every_column_is_tested_on_its_own() -> None:
    z = normal(3, 20, 6)
    assert_close(epps_pulley(z)[1, 4], epps_pulley(z[1, :, 4:5])[0])


@pytest.mark.parametrize("far", [0.0, 0.1, 1.0, 50.0])
def test_a_constant_pays_at_least_what_zeros_pay(far: float) -> None:
    assert epps_pulley(torch.full((64, 1), far).double()).item() >= 0.402 * 64 * 0.999


def test_normal_embeddings_pay_the_least_and_narrow_wide_shifted_and_flat_ones_more() -> None:
    z = normal(3, 1000, 2)
    line = z[..., :1].expand(3, 1000, 2)
    best = normality(z)
    assert (best < 3).all()
    assert all((normality(other) > 10 * best).all() for other in (z / 2, 2 * z, z + 1, line, z.sign(), 0 * z))


def test_a_collapsed_encoder_pays_in_proportion_to_the_batch() -> None:
    collapsed = method()
    with torch.no_grad():
        collapsed.encoder[-1].weight.zero_()
        collapsed.encoder[-1].bias.zero_()
    for count in (16, 64):
        assert collapsed.loss(points(count), source())["normality"].tolist() == approx([0.402 * count] * 3, rel=1e-3)


def test_the_loss_is_written_out() -> None:
    trained, x, drawn = method(), points(), source()
    first, second = (trained.encoder(x + 0.3 * drawn.normal(x)) for _ in range(2))
    directions = F.normalize(torch.randn((4, 5), generator=drawn.generator), dim=0)
    invariance = (first - second).square().mean((1, 2))
    tests = torch.stack([epps_pulley(z @ u[:, None])[..., 0] for z in (first, second) for u in directions.T])
    assert_close(trained.loss(x, source())["loss"], 0.9 * invariance + 0.1 * tests.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("weight", "part"), [(0, "invariance"), (1, "normality")])
def test_at_the_ends_of_the_weight_one_term_is_left(weight: float, part: str) -> None:
    parts = method(weight).loss(points(), source())
    assert (parts["loss"] == parts[part]).all()


def test_equal_views_are_invariant() -> None:
    assert (method(noise=0).loss(points(), source())["invariance"] == 0).all()


@pytest.mark.parametrize(("scale", "outward"), [(0.1, True), (5, False)])
def test_descent_widens_narrow_samples_and_draws_wide_ones_in(scale: float, outward: bool) -> None:
    z = (scale * normal(64, 3)).requires_grad_()
    (slope,) = torch.autograd.grad(epps_pulley(z).sum(), z)
    assert ((-slope * z).sum(0) > 0).tolist() == [outward] * 3


def test_gradient_reaches_the_encoder() -> None:
    trained = method(weight=1)
    trained.loss(points(), source())["loss"].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in trained.parameters())
