"""Basic JEPA: its closed form, and that nothing stops it from collapsing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from stages.methods.jepa_basic import JepaBasic
from tests.plane import domain, source


def method(noise: float = 0.3, depth: int = 2) -> JepaBasic:
    torch.manual_seed(0)
    return JepaBasic(domain(), view={"noise": noise}, encoder={"width": 8, "depth": depth, "dim": 4}).double()


def points(count: int = 16) -> Tensor:
    return torch.randn((3, count, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def scale_last_layer(trained: JepaBasic, factor: float) -> None:
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(factor)


def test_a_constant_map_has_zero_loss_and_zero_gradient() -> None:
    constant = method()
    scale_last_layer(constant, 0)
    loss = constant.loss(points(), source())["loss"]
    loss.sum().backward()
    assert (loss == 0).all()
    assert all((p.grad == 0).all() for p in constant.parameters())


def test_equal_views_have_zero_loss() -> None:
    assert (method(noise=0).loss(points(), source())["loss"] == 0).all()


def test_shrinking_the_embedding_is_rewarded_without_limit() -> None:
    full, shrunk = method(), method()
    scale_last_layer(shrunk, 0.1)
    assert_close(shrunk.loss(points(), source())["loss"], 0.01 * full.loss(points(), source())["loss"])


def test_a_shift_of_all_embeddings_changes_nothing() -> None:
    shifted = method()
    with torch.no_grad():
        shifted.encoder[-1].bias.add_(100)
    assert_close(shifted.loss(points(), source())["loss"], method().loss(points(), source())["loss"])


def test_the_loss_is_written_out() -> None:
    trained, x = method(), points()
    a, b = trained.encoder(x), trained.encoder(x + 0.3 * source().normal(x))
    expected = [sum(((a[s, i] - b[s, i]) ** 2).sum() for i in range(16)) / 16 for s in range(3)]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_a_linear_encoder_pays_the_size_of_its_matrix(noise: float) -> None:
    linear = method(noise, depth=0)
    (layer,) = linear.encoder
    expected = noise**2 * layer.weight.square().sum((-2, -1))
    assert_close(linear.loss(points(20_000), source())["loss"], expected, rtol=0.05, atol=0)


def test_the_gradient_of_a_linear_encoder_is_the_noise_covariance_times_its_matrix() -> None:
    linear, x = method(depth=0), points()
    (layer,) = linear.encoder
    linear.loss(x, source())["loss"].sum().backward()
    noise = 0.3 * source().normal(x)
    assert_close(layer.weight.grad, 2 / 16 * noise.mT @ noise @ layer.weight, rtol=1e-5, atol=1e-5)
    assert_close(layer.bias.grad, torch.zeros_like(layer.bias))


def test_embeddings_are_the_encoders() -> None:
    trained = method()
    assert_close(trained.embed(points()), trained.encoder(points()))
