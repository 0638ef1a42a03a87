"""Masked-coordinate JEPA: mask, loss, EMA target, and the best prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.jepa_masked import JepaMasked
from stages.mog.problem.gaussian_mixture import Array
from stages.nn.noise import TrainingNoise
from tests.plane import REFERENCE, domain, generator, normal

FIRST, SECOND = torch.eye(2, dtype=torch.float64)


def method(decay: float = 0.9) -> JepaMasked:
    torch.manual_seed(0)
    return JepaMasked(domain(), encoder={"width": 8, "depth": 2, "dim": 4}, predictor_width=8, decay=decay).double()


def source(step: int = 0) -> TrainingNoise:
    """The noise source at a training step, which hides coordinate `step` modulo 2."""
    noise = TrainingNoise(generator())
    noise.advance(step, 10)
    return noise


def points(seed: int = 1) -> Tensor:
    return normal(3, 16, 2, seed=seed)


def visible(mask: Tensor) -> Tensor:
    """The mask (2,) for all points."""
    return mask.expand(3, 16, 2)


def test_prediction_does_not_depend_on_the_masked_coordinate() -> None:
    trained, x, other = method(), points(), points(2)
    for mask in (FIRST, SECOND):
        mixed = torch.where(mask.bool(), x, other)
        assert (trained.predict(x, visible(mask)) == trained.predict(mixed, visible(mask))).all()


def test_prediction_depends_on_the_visible_coordinate() -> None:
    trained, x = method(), points()
    assert (trained.predict(x, visible(FIRST)) != trained.predict(x + FIRST, visible(FIRST))).all()


def test_prediction_distinguishes_a_masked_coordinate_from_one_that_is_zero() -> None:
    trained, on_axis = method(), points() * SECOND
    masked, whole = trained.predict(on_axis, visible(SECOND)), trained.predict(on_axis, visible(FIRST + SECOND))
    assert ((masked - whole).abs().amax(-1) > 1e-3).all()


def test_prediction_at_the_origin_depends_on_which_coordinate_is_masked() -> None:
    trained, origin = method(), torch.zeros_like(points())
    first, second = (trained.predict(origin, visible(mask)) for mask in (FIRST, SECOND))
    assert ((first - second).abs().amax(-1) > 1e-3).all()


def test_loss_matches_its_definition_under_the_alternating_mask() -> None:
    trained, x = method(), points()
    target = trained.target(torch.cat((x, torch.ones_like(x)), -1))
    for step, mask in ((0, SECOND), (1, FIRST), (2, SECOND)):
        predicted = trained.predictor(trained.encoder(torch.cat((x * mask, visible(mask)), -1)))
        expected = [sum(((predicted[s, i] - target[s, i]) ** 2).sum() for i in range(16)) / 16 for s in range(3)]
        assert_close(trained.loss(x, source(step))["loss"], torch.stack(expected))


def test_predicting_the_targets_embeddings_has_zero_loss() -> None:
    perfect, x = method(), points()
    perfect.predict = lambda x, visible: perfect.embed(x)  # type: ignore[method-assign]
    assert (perfect.loss(x, source())["loss"] == 0).all()


def test_gradient_treats_the_target_as_constant() -> None:
    trained, x = method(), points()
    target = trained.embed(x).detach()
    ours = torch.autograd.grad(trained.loss(x, source())["loss"].sum(), list(trained.encoder.parameters()))
    reference = torch.nn.functional.mse_loss(trained.predict(x, visible(SECOND)), target, reduction="sum") / 16
    assert_close(ours, torch.autograd.grad(reference, list(trained.encoder.parameters())), rtol=1e-5, atol=1e-5)


def test_ema_decay_is_constant_over_training() -> None:
    trained = method(decay=0.75)
    with torch.no_grad():
        for p in trained.encoder.parameters():
            p.add_(4)
    before = [p.clone() for p in trained.target.parameters()]
    for progress, moved in ((0.1, 1), (0.9, 1.75)):
        trained.after_step(progress)
        assert_close(list(trained.target.parameters()), [p + moved for p in before])


def test_embeddings_are_the_outputs_of_the_ema_target_on_whole_points() -> None:
    trained, x = method(), points()
    with torch.no_grad():
        trained.encoder[0].weight.zero_()
    assert_close(trained.embed(x), trained.target(torch.cat((x, torch.ones_like(x)), -1)))


def test_best_prediction_is_the_conditional_mean() -> None:
    x, _ = REFERENCE.sample(20_000, np.random.default_rng(0))
    ideal = method()
    ideal.embed = lambda x: x  # type: ignore[method-assign]

    def loss(hidden: int, prediction: Callable[[Array], Array]) -> float:
        def predict(x: Tensor, visible: Tensor) -> Tensor:
            predicted = torch.from_numpy(prediction(x[0, :, 1 - hidden].numpy()))[:, None]
            return torch.where(visible.bool(), x, predicted)

        ideal.predict = predict  # type: ignore[method-assign]
        return ideal.loss(torch.from_numpy(x)[None], source(hidden))["loss"].item()

    for hidden, ceiling in ((0, 0.072), (1, 0.911)):
        best = loss(hidden, lambda seen, h=hidden: REFERENCE.conditional_mean(h, seen))
        weights, means, _ = REFERENCE.conditional(hidden, x[:, 1 - hidden])
        most_probable_mode = means[np.arange(len(x)), weights.argmax(-1)]
        line = np.polynomial.Polynomial.fit(x[:, 1 - hidden], x[:, hidden], 1)
        assert 1 - best / x[:, hidden].var() == approx(ceiling, abs=0.01)
        assert best < loss(hidden, lambda _, mean=most_probable_mode: mean)
        assert best < loss(hidden, line)
