"""Masked-coordinate JEPA: what the mask hides, what it tells, and what the best prediction is."""

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
from tests.plane import REFERENCE, domain

FIRST, SECOND = torch.eye(2, dtype=torch.float64)


def method(decay: float = 0.9) -> JepaMasked:
    torch.manual_seed(0)
    made = JepaMasked(domain(), encoder={"width": 8, "depth": 2, "dim": 4}, predictor_width=8, decay=decay)
    return made.double()


def source(step: int = 0) -> TrainingNoise:
    made = TrainingNoise(torch.Generator().manual_seed(0))
    made.advance(step, 10)
    return made


def points(seed: int = 1) -> Tensor:
    return torch.randn((3, 16, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def visible(mask: Tensor) -> Tensor:
    return mask.expand(3, 16, 2)


def test_the_value_of_the_masked_coordinate_cannot_matter() -> None:
    trained, x, other = method(), points(), points(2)
    for mask in (FIRST, SECOND):
        mixed = torch.where(mask.bool(), x, other)
        assert (trained.predict(x, visible(mask)) == trained.predict(mixed, visible(mask))).all()


def test_the_value_of_the_visible_coordinate_does_matter() -> None:
    trained, x = method(), points()
    assert (trained.predict(x, visible(FIRST)) != trained.predict(x + FIRST, visible(FIRST))).all()


def test_a_masked_coordinate_is_not_a_coordinate_that_is_zero() -> None:
    trained, central = method(), points() * SECOND
    masked, whole = trained.predict(central, visible(SECOND)), trained.predict(central, visible(FIRST + SECOND))
    assert ((masked - whole).abs().amax(-1) > 1e-3).all()


def test_at_the_origin_it_matters_which_coordinate_is_masked() -> None:
    trained, origin = method(), torch.zeros_like(points())
    first, second = (trained.predict(origin, visible(mask)) for mask in (FIRST, SECOND))
    assert ((first - second).abs().amax(-1) > 1e-3).all()


def test_the_loss_is_written_out_and_the_mask_alternates() -> None:
    trained, x = method(), points()
    target = trained.target(torch.cat((x, torch.ones_like(x)), -1))
    for step, mask in ((0, SECOND), (1, FIRST), (2, SECOND)):
        seen = trained.predictor(trained.encoder(torch.cat((x * mask, visible(mask)), -1)))
        expected = [sum(((seen[s, i] - target[s, i]) ** 2).sum() for i in range(16)) / 16 for s in range(3)]
        assert_close(trained.loss(x, source(step))["loss"], torch.stack(expected))


def test_a_prediction_of_the_target_itself_has_zero_loss() -> None:
    knowing, x = method(), points()
    knowing.predict = lambda x, visible: knowing.embed(x)  # type: ignore[method-assign]
    assert (knowing.loss(x, source())["loss"] == 0).all()


def test_gradient_reaches_encoder_and_predictor_and_not_the_target() -> None:
    trained = method()
    trained.loss(points(), source())["loss"].sum().backward()
    assert all(p.grad.abs().sum() > 0 for part in (trained.encoder, trained.predictor) for p in part.parameters())
    assert all(p.grad is None and not p.requires_grad for p in trained.target.parameters())


def test_gradient_is_the_one_towards_a_constant_target() -> None:
    trained, x = method(), points()
    target = trained.embed(x).detach()
    ours = torch.autograd.grad(trained.loss(x, source())["loss"].sum(), list(trained.encoder.parameters()))
    oracle = torch.nn.functional.mse_loss(trained.predict(x, visible(SECOND)), target, reduction="sum") / 16
    assert_close(ours, torch.autograd.grad(oracle, list(trained.encoder.parameters())), rtol=1e-5, atol=1e-5)


def test_the_target_follows_at_the_same_pace_through_the_training() -> None:
    trained = method(decay=0.75)
    with torch.no_grad():
        for p in trained.encoder.parameters():
            p.add_(4)
    before = [p.clone() for p in trained.target.parameters()]
    for progress, moved in ((0.1, 1), (0.9, 1.75)):
        trained.after_step(progress)
        assert_close(list(trained.target.parameters()), [p + moved for p in before])


def test_embeddings_are_the_targets_of_whole_points() -> None:
    trained, x = method(), points()
    with torch.no_grad():
        trained.encoder[0].weight.zero_()
    assert_close(trained.embed(x), trained.target(torch.cat((x, torch.ones_like(x)), -1)))


def test_the_best_prediction_is_the_conditional_mean() -> None:
    x, _ = REFERENCE.sample(20_000, np.random.default_rng(0))
    ideal = method()
    ideal.embed = lambda x: x  # type: ignore[method-assign]

    def loss(hidden: int, guess: Callable[[Array], Array]) -> float:
        def predict(x: Tensor, visible: Tensor) -> Tensor:
            guessed = torch.from_numpy(guess(x[0, :, 1 - hidden].numpy()))[:, None]
            return torch.where(visible.bool(), x, guessed)

        ideal.predict = predict  # type: ignore[method-assign]
        return ideal.loss(torch.from_numpy(x)[None], source(hidden))["loss"].item()

    for hidden, ceiling in ((0, 0.072), (1, 0.911)):
        best = loss(hidden, lambda seen, h=hidden: REFERENCE.conditional_mean(h, seen))
        weights, means, _ = REFERENCE.conditional(hidden, x[:, 1 - hidden])
        likeliest = means[np.arange(len(x)), weights.argmax(-1)]
        line = np.polynomial.Polynomial.fit(x[:, 1 - hidden], x[:, hidden], 1)
        assert 1 - best / x[:, hidden].var() == approx(ceiling, abs=0.01)
        assert best < loss(hidden, lambda _, guess=likeliest: guess)
        assert best < loss(hidden, line)
