"""JEPA with an EMA target: loss, gradients, and updates of the target."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from pytest import approx
from torch import Tensor, nn
from torch.testing import assert_close

from stages.methods.jepa_ema import JepaEma
from tests.plane import domain, normal, source


def method(
    *, noise: float = 0.3, predictor: bool = True, stop_gradient: bool = True, decay: float = 0.9, copies: int = 3
) -> JepaEma:
    """The method with an EMA target that differs from its encoder."""
    torch.manual_seed(0)
    trained = JepaEma(
        domain(copies),
        view={"noise": noise},
        encoder={"width": 8, "depth": 2, "dim": 4},
        predictor=predictor,
        predictor_width=8,
        stop_gradient=stop_gradient,
        decay=decay,
    ).double()
    with torch.no_grad():
        for p in trained.encoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return trained


def points(copies: int = 3) -> Tensor:
    return normal(copies, 16, 2)


def branches(trained: JepaEma, x: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted embeddings of the noisy view and the EMA target's embeddings of the clean view."""
    return trained.predictor(trained.encoder(x + 0.3 * source().normal(x))), trained.target(x)


def parameters(*networks: nn.Module) -> list[Tensor]:
    return [p for network in networks for p in network.parameters()]


def test_loss_and_gradients_match_lightlys_negative_cosine_similarity() -> None:
    trained, x = method(copies=1), points(copies=1)
    online = parameters(trained.encoder, trained.predictor)
    ours = trained.loss(x, source())["loss"].sum()
    prediction, target = branches(trained, x)
    expected = 2 + 2 * NegativeCosineSimilarity()(prediction[0], target[0].detach())
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert_close(torch.autograd.grad(ours, online), torch.autograd.grad(expected, online), rtol=1e-5, atol=1e-5)


def test_loss_is_the_squared_distance_of_normalised_embeddings() -> None:
    trained, x = method(), points()
    prediction, target = (F.normalize(z, dim=-1) for z in branches(trained, x))
    assert_close(trained.loss(x, source())["loss"], (prediction - target).square().sum(-1).mean(-1))


def test_without_stop_gradient_both_branches_are_the_encoder() -> None:
    trained, x = method(stop_gradient=False), points()
    online = parameters(trained.encoder)
    ours = trained.loss(x, source())["loss"].sum()
    prediction, target = branches(trained, x)[0], trained.encoder(x)
    expected = (2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean(-1)).sum()
    with_stop_gradient = (2 - 2 * F.cosine_similarity(prediction, target.detach(), dim=-1).mean(-1)).sum()
    assert_close(ours, expected)
    found, stopped = (torch.autograd.grad(loss, online, retain_graph=True) for loss in (ours, with_stop_gradient))
    assert_close(found, torch.autograd.grad(expected, online), rtol=1e-5, atol=1e-5)
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(found, stopped, strict=True))


def test_without_predictor_the_loss_compares_the_embedding_itself() -> None:
    trained, x = method(predictor=False), points()
    encoded, target = trained.encoder(x + 0.3 * source().normal(x)), trained.target(x)
    assert_close(trained.loss(x, source())["loss"], 2 - 2 * F.cosine_similarity(encoded, target, dim=-1).mean(-1))


def test_equal_views_of_equal_networks_have_zero_loss_without_predictor() -> None:
    trained = method(noise=0, predictor=False)
    trained.target.load_state_dict(trained.encoder.state_dict())
    assert_close(trained.loss(points(), source())["loss"], torch.zeros(3).double(), atol=1e-12, rtol=0)


def test_a_constant_encoder_is_a_minimiser() -> None:
    trained = method(predictor=False)
    with torch.no_grad():
        trained.encoder[-1].weight.zero_()
        trained.target[-1].weight.zero_()
        trained.target[-1].bias.copy_(trained.encoder[-1].bias)
    assert_close(trained.loss(points(), source())["loss"], torch.zeros(3).double(), atol=1e-12, rtol=0)


def test_loss_of_opposite_embeddings_is_four() -> None:
    trained = method(noise=0, predictor=False)
    trained.target.load_state_dict(trained.encoder.state_dict())
    with torch.no_grad():
        for p in parameters(trained.target[-1]):
            p.neg_()
    assert_close(trained.loss(points(), source())["loss"], torch.full((3,), 4.0).double())


def test_loss_depends_on_normalised_embeddings_only() -> None:
    trained = method(predictor=False)
    before = trained.loss(points(), source())["loss"]
    with torch.no_grad():
        for p in parameters(trained.encoder[-1]):
            p.mul_(7)
    assert_close(trained.loss(points(), source())["loss"], before)


@pytest.mark.parametrize(("progress", "effective_decay"), [(0, 0.8), (0.5, 0.8**0.5), (1, 1)])
def test_ema_decay_rises_to_one_along_half_a_cosine(progress: float, effective_decay: float) -> None:
    trained = method(decay=0.8)
    before, online = parameters(trained.target)[0].clone(), parameters(trained.encoder)[0]
    trained.after_step(progress)
    assert_close(parameters(trained.target)[0], effective_decay * before + (1 - effective_decay) * online)


@pytest.mark.parametrize("progress", [0, 0.5, 1])
def test_ema_target_with_decay_zero_is_the_encoder(progress: float) -> None:
    trained = method(decay=0)
    trained.after_step(progress)
    assert_close(parameters(trained.target), [p.data for p in parameters(trained.encoder)], check_stride=False)


def test_ema_target_with_decay_one_does_not_change() -> None:
    trained = method(decay=1)
    before = [p.clone() for p in parameters(trained.target)]
    trained.after_step(0)
    assert_close(parameters(trained.target), before)


def test_ema_target_is_initialised_as_the_encoder() -> None:
    fresh = JepaEma(
        domain(2),
        view={"noise": 0.3},
        encoder={"width": 8, "depth": 1, "dim": 4},
        predictor=False,
        predictor_width=8,
        stop_gradient=True,
        decay=0.9,
    )
    assert fresh.loss(points(2).float(), source())["loss"].max().item() < 4
    assert all((a == b).all() for a, b in zip(parameters(fresh.target), parameters(fresh.encoder), strict=True))


def test_without_stop_gradient_embeddings_are_the_outputs_of_the_encoder() -> None:
    trained, x = method(stop_gradient=False), points()
    assert_close(trained.embed(x), trained.encoder(x))


def test_embeddings_are_the_outputs_of_the_ema_target() -> None:
    trained, x = method(), points()
    assert_close(trained.embed(x), trained.target(x))
    assert (trained.embed(x) - trained.encoder(x)).abs().max().item() != approx(0, abs=1e-3)
