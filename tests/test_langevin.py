"""Langevin dynamics: what it samples from, what it cannot do, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from stages.core.errors import UserError
from stages.mog.evaluation.langevin import Points, Region, annealed_langevin, langevin
from stages.mog.evaluation.sampling import Sampler, region
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from tests.plane import DESCRIBED, REFERENCE

EVERYWHERE = Region(np.full(2, -np.inf), np.full(2, np.inf))
GAUSSIAN = Mixture([[3, -1]], [[[1, 0.8], [0.8, 1]]], [1])


class Silent(np.random.Generator):
    """A generator whose normal draws are all zero."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64())

    def standard_normal(self, *, out: Points) -> Points:  # type: ignore[override]
        out[:] = 0
        return out


def walk(score: Callable[[Points], Points], start: Points, **changes: Any) -> tuple[Points, Points]:
    settings: dict[str, Any] = {"step_size": 0.05, "steps": 100, "snapshots": [], "region": EVERYWHERE}
    settings |= {"rng": np.random.default_rng(0), **changes}
    return langevin(score, start, **settings)


def anneal(score: Callable[[Points, float], Points], start: Points, **changes: Any) -> tuple[Points, Points]:
    settings: dict[str, Any] = {"sigmas": [2.0, 1.0], "step_ratio": 0.1, "steps": 3, "snapshots": [], "region": EVERYWHERE}
    return annealed_langevin(score, start, **{**settings, "rng": np.random.default_rng(0), **changes})


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
    x, kept = walk(lambda x: -x, start, rng=Silent(), step_size=0.1, steps=10, snapshots=[0, 3, 10])
    assert_allclose(kept, np.stack([start * 0.9**step for step in (0, 3, 10)]))
    assert (kept[-1] == x).all()


def test_one_particle_that_is_nowhere_is_enough_to_refuse_the_chain() -> None:
    with pytest.raises(UserError, match=r"Langevin dynamics diverged"):
        walk(lambda x: np.where(x > 2.5, np.nan, -x), np.array([[3.0, 1], [1, 1], [0, 0], [-1, 1]]), rng=Silent(), steps=5)


def test_the_start_is_left_alone() -> None:
    start = np.ones((5, 2))
    walk(lambda x: -x, start)
    assert (start == 1).all()


def test_the_same_generator_gives_the_same_walk() -> None:
    assert (walk(GAUSSIAN.score, np.zeros((5, 2)))[1] == walk(GAUSSIAN.score, np.zeros((5, 2)))[1]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("score", [lambda x: -x, lambda x: x * np.nan], ids=["step too large", "score is NaN"])
def test_a_chain_that_diverges_blames_the_step_size(score: Callable[[Points], Points]) -> None:
    with pytest.raises(UserError, match=r"a step size of \S+ is too large"):
        walk(score, np.ones((4, 2)), step_size=9.0, steps=500)


def test_particles_that_leave_the_region_stay_on_its_edge_and_the_others_do_not_notice() -> None:
    region = Region(np.array([-3.0, -4]), np.array([3.0, 5]))

    def outwards(x: Points) -> Points:
        return np.where(x[..., :1] > 1, 1e300, -1) * x

    start = np.array([[2.0, 0.5], [0.5, 0.5], [-0.5, -1]])
    x, kept = walk(outwards, start, region=region, rng=Silent(), steps=20, snapshots=range(21))
    assert_allclose(kept[1:, 0], np.tile([3.0, 5.0], (20, 1)))
    assert_allclose(x[1:], start[1:] * 0.95**20)
    assert region.holds(x).tolist() == [False, True, True]


def test_a_chain_of_which_most_particles_escape_is_refused() -> None:
    region = Region(np.full(2, -3.0), np.full(2, 3.0))
    with pytest.raises(UserError, match=r"a step size of 0\.05 is too large"):
        walk(lambda x: 5 * x, np.ones((4, 2)), region=region, rng=Silent())


def test_separated_modes_end_with_the_weights_of_their_catchment_areas() -> None:
    pair = Mixture([[-8, 0], [8, 0]], [np.eye(2)] * 2, [0.9, 0.1])
    start = np.random.default_rng(2).uniform(-12, 12, (1000, 2))
    x, _ = walk(pair.score, start, steps=150)
    assert ((x[:, 0] < 0) == (start[:, 0] < 0)).mean() > 0.95
    assert abs((x[:, 0] < 0).mean() - 0.5) < 0.05


def test_the_exact_score_of_the_reference_misses_its_weights_from_a_uniform_start() -> None:
    density = REFERENCE.smoothed(0.5)
    start = setup.uniform_in_box(DESCRIBED, 1500, np.random.default_rng(3))
    x, _ = walk(density.score, start, steps=300)
    assert_allclose(density.responsibilities(x).mean(0), [0.26, 0.43, 0.31], atol=0.045)


def test_close_modes_end_with_their_true_weights() -> None:
    pair = Mixture([[-1, 0], [1, 0]], [np.eye(2)] * 2, [0.9, 0.1])
    x, _ = walk(pair.score, np.random.default_rng(4).uniform(-4, 4, (4000, 2)), steps=300)
    assert_allclose(x.mean(0), pair.weights @ pair.means, atol=0.08)


def test_annealing_on_one_level_is_plain_langevin_with_a_step_in_proportion_to_the_variance() -> None:
    start = np.random.default_rng(5).standard_normal((3, 4, 2))
    annealed = anneal(lambda x, sigma: -sigma * x, start, sigmas=[0.7], step_ratio=0.2, steps=50, snapshots=[0, 20, 50])
    plain = walk(lambda x: -0.7 * x, start, step_size=0.2 * 0.7**2, steps=50, snapshots=[0, 20, 50])
    for a, b in zip(annealed, plain, strict=True):
        assert_allclose(a, b)


def test_every_level_starts_where_the_one_above_ended_with_its_own_score_and_step() -> None:
    start = np.random.default_rng(6).standard_normal((4, 2))
    x, kept = anneal(lambda x, sigma: -sigma * x, start, rng=Silent(), snapshots=[0, 2, 3, 4, 6])
    high, low = 1 - 0.1 * 2**2 * 2, 1 - 0.1
    assert_allclose(kept, np.stack([start * high**a * low**b for a, b in ((0, 0), (2, 0), (3, 0), (3, 1), (3, 3))]))
    assert (kept[-1] == x).all()


def test_annealing_ends_in_the_density_of_the_last_level() -> None:
    schedule = np.geomspace(5, 0.5, 5)
    x, _ = anneal(lambda x, s: GAUSSIAN.smoothed(s).score(x), np.zeros((4000, 2)), sigmas=schedule, steps=150)
    assert_allclose(x.mean(0), GAUSSIAN.means[0], atol=0.1)
    assert_allclose(np.cov(x.T), GAUSSIAN.smoothed(0.5).covariances[0], atol=0.12)


def test_annealing_recovers_the_weights_that_a_single_noise_level_misses() -> None:
    def error(x: Points) -> float:
        return float(np.abs(REFERENCE.smoothed(0.5).responsibilities(x).mean(0) - REFERENCE.weights).sum() / 2)

    start, schedule = setup.uniform_in_box(DESCRIBED, 1500, np.random.default_rng(7)), np.geomspace(10, 0.5, 8)
    densities = {sigma: REFERENCE.smoothed(sigma) for sigma in schedule}
    annealed, _ = anneal(lambda x, s: densities[s].score(x), start, sigmas=schedule, step_ratio=0.2, steps=40)
    single, _ = walk(densities[schedule[-1]].score, start, steps=320)
    assert error(annealed) < 0.04 < 0.1 < error(single)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_annealed_chain_that_diverges_blames_the_step_size_too() -> None:
    with pytest.raises(UserError, match=r"a step size of \S+ is too large"):
        anneal(lambda x, _: -x, np.ones((4, 2)), sigmas=[10.0], step_ratio=1.0, steps=500)


def test_no_particle_of_the_true_score_leaves_the_region_on_the_widest_level() -> None:
    sigmas = np.geomspace(10, 0.1, 12).tolist()
    start = setup.uniform_in_box(DESCRIBED, 4000, np.random.default_rng(3))
    where = region(DESCRIBED, max(sigmas))
    settings: dict[str, Any] = {"sigmas": sigmas, "step_ratio": 0.2, "steps": 20, "snapshots": range(0, 240, 20)}
    x, kept = anneal(lambda x, sigma: REFERENCE.smoothed(sigma).score(x), start, region=where, **settings)
    assert where.holds(kept).all()
    assert region(DESCRIBED, min(sigmas)).holds(x).all()
    assert np.abs(REFERENCE.responsibilities(x).mean(0) - REFERENCE.weights).max() < 0.03
    # As wide as the data's own box is too narrow for a level of σ = 10.
    assert not region(DESCRIBED, 0).holds(kept).all()


class Outward:
    """A score that sends those in the uppermost quarter of the box away at once, and all others to a place on the right."""

    sigma, step = 0.5, 0.05

    def __init__(self, place: float) -> None:
        self.place = place

    def score(self, x: Tensor) -> Tensor:
        """One step ends at the place, but for the noise, or beyond any region."""
        there = (torch.tensor([self.place, 0.0]) - x) / self.step
        return torch.where(x[..., 1:] > 10, torch.tensor([0.0, 1e6]), there)


class OutwardAtEveryLevel(Outward):
    """The same at two noise levels."""

    sigmas, step = [4.0, 0.5], 1.0

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """With steps of a tenth of σ²."""
        return self.score(x) / (0.1 * sigma**2)


@pytest.mark.parametrize(("score", "largest"), [(Outward(30), 0.5), (OutwardAtEveryLevel(40), 4.0)])
def test_who_has_left_is_counted_by_the_region_in_which_the_particles_walked(score: Outward, largest: float) -> None:
    protocol = SimpleNamespace(
        seed=0,
        langevin=SimpleNamespace(particles=400, steps=3, step_size=score.step, frames=4),
        annealed=SimpleNamespace(particles=400, steps=3, step_ratio=0.1, frames=4),
    )
    model: Any = SimpleNamespace(trained=score, protocol=protocol, mixture=REFERENCE, described=DESCRIBED, seeds=1)
    model.device = torch.device("cpu")
    sampler = Sampler(model)
    samples, walk = sampler.learned()
    left = walk[0, :, 1] > 10
    assert 0.2 < left.mean() < 0.3
    walked, last = region(DESCRIBED, largest), region(DESCRIBED, 0.5)
    assert (walked.holds(samples[0]) == ~left).all()
    # At the last level alone the region ends before the place at which all others are.
    assert last.holds(samples[0]).any() == (largest == 0.5)
    quality, arrays = sampler.evaluate(samples, walk, sampler.control())
    assert quality[sampler.name]["escaped"]["values"] == pytest.approx([left.mean()])
    assert arrays["mode_weights"].sum() == pytest.approx(1 - left.mean())
    assert quality[f"control_{sampler.name}"]["escaped"]["mean"] == 0
    assert arrays["mode_weights_control"].sum() == pytest.approx(1)
