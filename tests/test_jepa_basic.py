"""Basic JEPA: closed forms, and collapsed encoders as minimisers."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from stages.methods.jepa_basic import JepaBasic
from tests.plane import domain, normal, source


def method(noise: float = 0.3, depth: int = 2) -> JepaBasic:
    torch.manual_seed(0)
    return JepaBasic(domain(), view={"noise": noise}, encoder={"width": 8, "depth": depth, "dim": 4}).double()


def scale_last_layer(trained: JepaBasic, factor: float) -> None:
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(factor)


def test_a_constant_encoder_has_zero_loss_and_zero_gradient() -> None:
    collapsed = method()
    scale_last_layer(collapsed, 0)
    loss = collapsed.loss(normal(3, 16, 2), source())["loss"]
    loss.sum().backward()
    assert (loss == 0).all()
    assert all((p.grad == 0).all() for p in collapsed.parameters())


def test_equal_views_have_zero_loss() -> None:
    assert (method(noise=0).loss(normal(3, 16, 2), source())["loss"] == 0).all()


def test_loss_is_quadratic_in_the_scale_of_the_embeddings() -> None:
    full, shrunk = method(), method()
    scale_last_layer(shrunk, 0.1)
    assert_close(shrunk.loss(normal(3, 16, 2), source())["loss"], 0.01 * full.loss(normal(3, 16, 2), source())["loss"])


def test_loss_is_invariant_to_a_shift_of_all_embeddings() -> None:
    shifted = method()
    with torch.no_grad():
        shifted.encoder[-1].bias.add_(100)
    assert_close(shifted.loss(normal(3, 16, 2), source())["loss"], method().loss(normal(3, 16, 2), source())["loss"])


def test_loss_matches_its_definition() -> None:
    trained, x = method(), normal(3, 16, 2)
    a, b = trained.encoder(x), trained.encoder(x + 0.3 * source().normal(x))
    expected = [sum(((a[s, i] - b[s, i]) ** 2).sum() for i in range(16)) / 16 for s in range(3)]
    assert_close(trained.loss(x, source())["loss"], torch.stack(expected))


@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_loss_of_a_linear_encoder_is_its_squared_norm_times_the_noise_variance(noise: float) -> None:
    linear = method(noise, depth=0)
    (layer,) = linear.encoder
    expected = noise**2 * layer.weight.square().sum((-2, -1))
    assert_close(linear.loss(normal(3, 20_000, 2), source())["loss"], expected, rtol=0.05, atol=0)


def test_gradient_of_a_linear_encoder_is_the_noise_covariance_times_its_matrix() -> None:
    linear, x = method(depth=0), normal(3, 16, 2)
    (layer,) = linear.encoder
    linear.loss(x, source())["loss"].sum().backward()
    noise = 0.3 * source().normal(x)
    assert_close(layer.weight.grad, 2 / 16 * noise.mT @ noise @ layer.weight, rtol=1e-5, atol=1e-5)
    assert_close(layer.bias.grad, torch.zeros_like(layer.bias))


def test_embeddings_are_the_outputs_of_the_encoder() -> None:
    trained = method()
    assert_close(trained.embed(normal(3, 16, 2)), trained.encoder(normal(3, 16, 2)))
