"""Rules that hold for every method on the mixture: shapes, finite losses and gradients, evaluation mode, and energies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from stages.config import params
from stages.core.paths import ROOT
from stages.nn.build import build, configured, method_class
from stages.nn.method import (
    HasConditionalDensity,
    HasCritic,
    HasEncoder,
    HasEnergy,
    HasNoiseSchedule,
    HasPredictor,
    HasScore,
    Method,
)
from stages.nn.mlp import BatchedMLP
from tests.plane import domain, normal, slope, source

PARAMS = params.load(ROOT / "params.yaml")
ENERGY_BASED = [name for name in PARAMS.methods if hasattr(method_class(name), "energy")]
methods = pytest.mark.parametrize("name", PARAMS.methods)


def make(name: str) -> Method:
    """The method with its settings in params.yaml, in float64, with three seeds."""
    torch.manual_seed(0)
    return build(name, domain(copies=3), configured(PARAMS, name)[0]).double()


def points() -> Tensor:
    return normal(3, 16, 2)


@methods
@pytest.mark.parametrize("repeated", [False, True], ids=["different points", "one repeated point"])
def test_loss_and_its_terms_are_finite_and_have_one_value_per_seed(name: str, repeated: bool) -> None:
    x = points()[:, :1].expand(3, 16, 2) if repeated else points()
    terms = make(name).loss(x, source())
    assert "loss" in terms
    for term, value in terms.items():
        assert value.shape == (3,) and value.isfinite().all(), term


@methods
def test_gradient_is_finite_and_reaches_all_parameters_except_targets_and_additive_constants(name: str) -> None:
    method = make(name)
    method.loss(points(), source())["loss"].sum().backward()
    # A loss can be invariant to a constant that is added to the output of a network.
    constants = {module[-1].bias for module in method.modules() if isinstance(module, BatchedMLP)}
    for key, parameter in method.named_parameters():
        gradient = parameter.grad
        if key.startswith("target."):
            assert gradient is None and not parameter.requires_grad, key
        elif gradient is None:
            assert parameter in constants, key
        else:
            reached = gradient.flatten(1).abs().sum(-1) > 1e-8
            assert gradient.isfinite().all() and (reached.all() or (parameter in constants and not reached.any())), key


@methods
def test_loss_in_evaluation_mode_is_the_same_without_a_graph(name: str) -> None:
    method = make(name)
    expected = method.loss(points(), source())["loss"].detach()
    with torch.no_grad():
        found = method.eval().loss(points(), source())["loss"]
    assert_close(found, expected)
    assert not found.requires_grad


@methods
def test_outputs_are_finite_float64_and_of_the_documented_shape(name: str) -> None:
    method, x = make(name).eval(), points()
    visible = source().visible(x)
    embedding_shape = (3, 16, configured(PARAMS, name)[0].get("encoder", {}).get("dim"))
    outputs: dict[str, tuple[Tensor, tuple[int | None, ...]]] = {}
    if isinstance(method, HasEncoder):
        outputs["embed"] = (method.embed(x), embedding_shape)
    if isinstance(method, HasPredictor):
        outputs["predict"] = (method.predict(x, visible), embedding_shape)
    if isinstance(method, HasConditionalDensity):
        outputs["log_density"] = (method.log_density(x, visible), (3, 16))
    if isinstance(method, HasScore):
        outputs["score"] = (method.score(x), (3, 16, 2))
    if isinstance(method, HasNoiseSchedule):
        outputs["score_at"] = (method.score_at(x, method.sigmas[0]), (3, 16, 2))
    if isinstance(method, HasEnergy):
        outputs["energy"] = (method.energy(x), (3, 16))
    if isinstance(method, HasCritic):
        outputs["critic"] = (method.critic(x, x[:, :5]), (3, 16, 5))
    assert outputs
    for function, (value, shape) in outputs.items():
        assert value.shape == shape, function
        assert value.dtype == torch.float64 and value.isfinite().all(), function


@pytest.mark.parametrize("name", ENERGY_BASED)
def test_score_is_minus_the_gradient_of_the_energy(name: str) -> None:
    method, x = make(name), points()
    assert_close(method.score(x), -slope(method.energy, x), rtol=1e-6, atol=1e-8)
