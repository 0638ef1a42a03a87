"""Masked JEPA with a density: normalisation, dependence on the visible coordinate, representable densities, and loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.testing import assert_close

from stages.methods.jepa_masked import JepaMasked
from stages.methods.jepa_masked_density import JepaMaskedDensity
from stages.nn.noise import TrainingNoise
from tests.plane import REFERENCE, domain, generator, normal

SIZES = {"encoder": {"width": 8, "depth": 2, "dim": 4}, "predictor_width": 8, "decay": 0.75}
hidden_coordinate = pytest.mark.parametrize("hidden", [0, 1])


def method(copies: int = 3, components: int = 5) -> JepaMaskedDensity:
    """The method with an EMA target that differs from its encoder."""
    torch.manual_seed(0)
    trained = JepaMaskedDensity(domain(copies), **SIZES, components=components).double()
    with torch.no_grad():
        for p in trained.encoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return trained


def source(step: int = 0) -> TrainingNoise:
    """The noise source at a training step, which hides coordinate `step` modulo 2."""
    noise = TrainingNoise(generator())
    noise.advance(step, 10)
    return noise


def mask(hidden: int, like: Tensor) -> Tensor:
    """The mask that hides one coordinate, of the shape of `like`."""
    return source(hidden).visible(like)


class Conditional(nn.Module):
    """A head whose density is the reference mixture's conditional of the hidden coordinate; its context is the masked point."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, context: Tensor) -> Tensor:
        weights, means, variances = REFERENCE.conditional(self.hidden, context[0, :, 1 - self.hidden].numpy())
        parameters = np.log(weights), means, np.broadcast_to(np.log(variances) / 2, means.shape)
        return torch.from_numpy(np.concatenate(parameters, -1))[None]


@hidden_coordinate
def test_density_integrates_to_one_over_the_hidden_coordinate(hidden: int) -> None:
    axis = torch.linspace(-40, 40, 4001).double()
    for seen in (-5.0, 0.0, 7.0):
        x = torch.stack((axis, torch.full_like(axis, seen))[:: 1 - 2 * hidden], -1).expand(3, 4001, 2)
        integral = torch.trapezoid(method().log_density(x, mask(hidden, x)).exp(), axis)
        assert_close(integral, torch.ones(3).double(), rtol=0, atol=1e-6)


@hidden_coordinate
@pytest.mark.parametrize("components", [1, 5])
def test_density_is_pytorchs_mixture_with_parameters_from_the_visible_coordinate(hidden: int, components: int) -> None:
    trained, x, other = method(components=components), normal(3, 16, 2), 3 * normal(3, 16, 2, seed=2)
    visible = mask(hidden, x)
    context = trained.encoder(torch.cat((x * visible, visible), -1))
    logits, means, log_stds = trained.head(context).split(components, -1)
    reference = MixtureSameFamily(Categorical(logits=logits), Normal(means, log_stds.exp()))
    for value in (x, other):
        mixed = torch.where(visible.bool(), x, value)
        assert_close(trained.log_density(mixed, visible), reference.log_prob(value[..., hidden]))


@hidden_coordinate
def test_density_and_prediction_depend_on_the_visible_coordinate(hidden: int) -> None:
    trained, x = method(), normal(3, 16, 2)
    visible = mask(hidden, x)
    for function in (trained.log_density, trained.predict):
        assert (function(x, visible) != function(x + visible, visible)).all()


@hidden_coordinate
def test_density_can_represent_the_conditional_of_the_mixture(hidden: int) -> None:
    optimum = method(copies=1, components=3)
    optimum.encoder, optimum.head = nn.Identity(), Conditional(hidden)  # type: ignore[assignment]
    x, _ = REFERENCE.sample(100, np.random.default_rng(1))
    expected = torch.from_numpy(REFERENCE.conditional_log_density(hidden, x))
    points = torch.from_numpy(x)[None]
    assert_close(optimum.log_density(points, mask(hidden, points))[0], expected, rtol=1e-9, atol=1e-9)


@hidden_coordinate
def test_loss_is_the_masked_jepas_plus_the_negative_log_likelihood(hidden: int) -> None:
    trained, x = method(), normal(3, 16, 2)
    plain = JepaMasked(domain(), **SIZES).double()
    plain.load_state_dict({k: v for k, v in trained.state_dict().items() if not k.startswith("head.")})
    parts = trained.loss(x, source(hidden))
    assert_close(parts["prediction"], plain.loss(x, source(hidden))["loss"])
    log_density = trained.log_density(x, mask(hidden, x))
    assert_close(parts["likelihood"], torch.stack([-sum(one) / 16 for one in log_density]))
    assert_close(parts["loss"], parts["prediction"] + parts["likelihood"])


def test_likelihood_term_alone_trains_the_encoder() -> None:
    trained = method()
    trained.loss(normal(3, 16, 2), source())["likelihood"].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in trained.encoder.parameters())
    assert all(p.grad is None for p in trained.predictor.parameters())


def test_ema_target_follows_the_encoder() -> None:
    trained = method()
    pairs = zip(trained.target.parameters(), trained.encoder.parameters(), strict=True)
    expected = [0.75 * slow + 0.25 * fast for slow, fast in pairs]
    trained.after_step(0.5)
    assert_close(list(trained.target.parameters()), expected)


def test_embeddings_are_the_outputs_of_the_ema_target_on_whole_points() -> None:
    trained, x = method(), normal(3, 16, 2)
    assert_close(trained.embed(x), trained.target(torch.cat((x, torch.ones_like(x)), -1)))


def test_log_density_far_from_all_components_is_low_and_finite() -> None:
    far = torch.tensor([0.0, 1e4]).double().expand(3, 4, 2)
    log_density = method().log_density(far, mask(1, far))
    assert log_density.isfinite().all() and (log_density < -1e3).all()
