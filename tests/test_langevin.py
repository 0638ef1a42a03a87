"""Langevin dynamics: what it samples from, what it cannot do, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from stages import params
from stages.errors import UserError
from stages.mog import setting
from stages.mog.langevin import Points, langevin
from stages.mog.mixture import Mixture

MOG = params.load(Path(__file__).parent.parent / "params.yaml").mog.model_copy(update={"preset": "reference"})
GAUSSIAN = Mixture([[3, -1]], [[[1, 0.8], [0.8, 1]]], [1])


class Silent(np.random.Generator):
    """A generator whose normal draws are all zero."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64())

    def standard_normal(self, size: tuple[int, ...]) -> Points:  # type: ignore[override]
        return np.zeros(size)


def walk(score: Callable[[Points], Points], start: Points, **changes: Any) -> tuple[Points, Points]:
    settings: dict[str, Any] = {"step_size": 0.05, "steps": 100, "moments": [], "rng": np.random.default_rng(0), **changes}
    return langevin(score, start, **settings)


def test_the_score_of_a_gaussian_gives_its_mean_and_covariance() -> None:
    x, _ = walk(GAUSSIAN.score, np.zeros((6000, 2)), step_size=0.02, steps=800)
    assert_allclose(x.mean(0), GAUSSIAN.means[0], atol=0.06)
    assert_allclose(np.cov(x.T), GAUSSIAN.covariances[0], atol=0.09)


def test_a_finite_step_widens_a_standard_gaussian_to_the_known_variance() -> None:
    x, _ = walk(lambda x: -x, np.zeros((20_000, 2)), step_size=0.5, steps=40)
    assert_allclose(x.var(0), 1 / (1 - 0.5 / 2), rtol=0.04)


def test_without_a_score_it_is_brownian_motion() -> None:
    x, _ = walk(np.zeros_like, np.full((20_000, 2), 7.0), step_size=0.1, steps=20)
    assert_allclose(x.mean(0), 7, atol=0.06)
    assert_allclose(x.var(0), 2 * 0.1 * 20, rtol=0.04)


def test_without_noise_it_is_gradient_ascent() -> None:
    start = np.array([[1.0, 2.0]])
    x, _ = walk(lambda x: -x, start, rng=Silent(), step_size=0.1, steps=7)
    assert_allclose(x, start * 0.9**7)


def test_it_keeps_the_asked_moments_of_the_walk() -> None:
    start = np.random.default_rng(1).standard_normal((3, 4, 2))
    x, kept = walk(lambda x: -x, start, rng=Silent(), step_size=0.1, steps=10, moments=[0, 3, 10])
    assert_allclose(kept, np.stack([start * 0.9**step for step in (0, 3, 10)]))
    assert (kept[-1] == x).all()


def test_the_start_is_left_alone() -> None:
    start = np.ones((5, 2))
    walk(lambda x: -x, start)
    assert (start == 1).all()


def test_the_same_generator_gives_the_same_walk() -> None:
    assert (walk(GAUSSIAN.score, np.zeros((5, 2)))[1] == walk(GAUSSIAN.score, np.zeros((5, 2)))[1]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("score", [lambda x: -x, lambda x: x * np.nan], ids=["step too large", "score is NaN"])
def test_a_chain_that_diverges_names_the_step_size(score: Callable[[Points], Points]) -> None:
    with pytest.raises(UserError, match="step size of 9"):
        walk(score, np.ones((4, 2)), step_size=9.0, steps=500)


def test_separated_modes_end_with_the_weights_of_their_catchment_areas() -> None:
    pair = Mixture([[-8, 0], [8, 0]], [np.eye(2)] * 2, [0.9, 0.1])
    start = np.random.default_rng(2).uniform(-12, 12, (1000, 2))
    x, _ = walk(pair.score, start, steps=150)
    assert ((x[:, 0] < 0) == (start[:, 0] < 0)).mean() > 0.95
    assert abs((x[:, 0] < 0).mean() - 0.5) < 0.05


def test_the_exact_score_of_the_reference_misses_its_weights_from_a_uniform_start() -> None:
    density = setting.mixture(MOG).smoothed(0.5)
    start = setting.uniform_in_box(MOG, 1500, np.random.default_rng(3))
    x, _ = walk(density.score, start, steps=300)
    assert_allclose(density.responsibilities(x).mean(0), [0.26, 0.43, 0.31], atol=0.045)


def test_close_modes_end_with_their_true_weights() -> None:
    pair = Mixture([[-1, 0], [1, 0]], [np.eye(2)] * 2, [0.9, 0.1])
    x, _ = walk(pair.score, np.random.default_rng(4).uniform(-4, 4, (4000, 2)), steps=300)
    assert_allclose(x.mean(0), pair.weights @ pair.means, atol=0.08)
