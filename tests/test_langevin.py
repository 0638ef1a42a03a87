"""Langevin dynamics: the density it samples, its limits, and its errors."""

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
from stages.mog.evaluation.sampling import LangevinSampler, region
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from tests.plane import DESCRIBED, REFERENCE

EVERYWHERE = Region(np.full(2, -np.inf), np.full(2, np.inf))
GAUSSIAN = Mixture([[3, -1]], [[[1, 0.8], [0.8, 1]]], [1])


class NoNoise(np.random.Generator):
    """A generator whose normal noise is zero."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64())

    def standard_normal(self, *, out: Points) -> Points:  # type: ignore[override]
        out[:] = 0
        return out


def run(score: Callable[[Points], Points], start: Points, **changes: Any) -> tuple[Points, Points]:
    """Langevin dynamics with default settings and changes of them."""
    settings: dict[str, Any] = {"step_size": 0.05, "steps": 100, "snapshots": [], "region": EVERYWHERE}
    settings |= {"rng": np.random.default_rng(0), **changes}
    return langevin(score, start, **settings)


def anneal(score: Callable[[Points, float], Points], start: Points, **changes: Any) -> tuple[Points, Points]:
    """Annealed Langevin dynamics with default settings and changes of them."""
    settings: dict[str, Any] = {"sigmas": [2.0, 1.0], "step_ratio": 0.1, "steps": 3, "snapshots": [], "region": EVERYWHERE}
    return annealed_langevin(score, start, **{**settings, "rng": np.random.default_rng(0), **changes})


def test_score_of_a_gaussian_gives_samples_with_its_mean_and_covariance() -> None:
    x, _ = run(GAUSSIAN.score, np.zeros((6000, 2)), step_size=0.02, steps=800)
    assert_allclose(x.mean(0), GAUSSIAN.means[0], atol=0.06)
    assert_allclose(np.cov(x.T), GAUSSIAN.covariances[0], atol=0.09)


def test_a_finite_step_size_raises_the_variance_by_the_known_factor() -> None:
    x, _ = run(lambda x: -x, np.zeros((20_000, 2)), step_size=0.5, steps=40)
    assert_allclose(x.var(0), 1 / (1 - 0.5 / 2), rtol=0.04)


def test_langevin_dynamics_with_zero_score_is_brownian_motion() -> None:
    x, _ = run(np.zeros_like, np.full((20_000, 2), 7.0), step_size=0.1, steps=20)
    assert_allclose(x.mean(0), 7, atol=0.06)
    assert_allclose(x.var(0), 2 * 0.1 * 20, rtol=0.04)


def test_langevin_dynamics_without_noise_is_gradient_ascent() -> None:
    start = np.array([[1.0, 2.0]])
    x, _ = run(lambda x: -x, start, rng=NoNoise(), step_size=0.1, steps=7)
    assert_allclose(x, start * 0.9**7)


def test_requested_snapshots_of_the_particles_are_recorded() -> None:
    start = np.random.default_rng(1).standard_normal((3, 4, 2))
    x, snapshots = run(lambda x: -x, start, rng=NoNoise(), step_size=0.1, steps=10, snapshots=[0, 3, 10])
    assert_allclose(snapshots, np.stack([start * 0.9**step for step in (0, 3, 10)]))
    assert (snapshots[-1] == x).all()


def test_a_single_particle_at_nan_raises_an_error() -> None:
    with pytest.raises(UserError, match=r"Langevin dynamics diverged"):
        run(lambda x: np.where(x > 2.5, np.nan, -x), np.array([[3.0, 1], [1, 1], [0, 0], [-1, 1]]), rng=NoNoise(), steps=5)


def test_the_start_is_not_modified() -> None:
    start = np.ones((5, 2))
    run(lambda x: -x, start)
    assert (start == 1).all()


def test_equal_generators_give_equal_chains() -> None:
    assert (run(GAUSSIAN.score, np.zeros((5, 2)))[0] == run(GAUSSIAN.score, np.zeros((5, 2)))[0]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("score", [lambda x: -x, lambda x: x * np.nan], ids=["step too large", "score is NaN"])
def test_divergence_raises_an_error_that_names_the_step_size(score: Callable[[Points], Points]) -> None:
    with pytest.raises(UserError, match=r"a step size of \S+ is too large"):
        run(score, np.ones((4, 2)), step_size=9.0, steps=500)


def test_escaped_particles_stay_on_the_boundary_and_do_not_affect_the_others() -> None:
    region = Region(np.array([-3.0, -4]), np.array([3.0, 5]))

    def outward(x: Points) -> Points:
        return np.where(x[..., :1] > 1, 1e300, -1) * x

    start = np.array([[2.0, 0.5], [0.5, 0.5], [-0.5, -1]])
    x, snapshots = run(outward, start, region=region, rng=NoNoise(), steps=20, snapshots=range(21))
    assert_allclose(snapshots[1:, 0], np.tile([3.0, 5.0], (20, 1)))
    assert_allclose(x[1:], start[1:] * 0.95**20)
    assert region.holds(x).tolist() == [False, True, True]


def test_escape_of_most_particles_raises_an_error() -> None:
    region = Region(np.full(2, -3.0), np.full(2, 3.0))
    with pytest.raises(UserError, match=r"a step size of 0\.05 is too large"):
        run(lambda x: 5 * x, np.ones((4, 2)), region=region, rng=NoNoise())


def test_separated_modes_get_the_weights_of_their_basins_of_attraction() -> None:
    pair = Mixture([[-8, 0], [8, 0]], [np.eye(2)] * 2, [0.9, 0.1])
    start = np.random.default_rng(2).uniform(-12, 12, (1000, 2))
    x, _ = run(pair.score, start, steps=150)
    assert ((x[:, 0] < 0) == (start[:, 0] < 0)).mean() > 0.95
    assert abs((x[:, 0] < 0).mean() - 0.5) < 0.05


def test_exact_score_misses_the_reference_mode_weights_from_a_uniform_start() -> None:
    density = REFERENCE.smoothed(0.5)
    start = setup.uniform_in_box(DESCRIBED, 1500, np.random.default_rng(3))
    x, _ = run(density.score, start, steps=300)
    assert_allclose(density.responsibilities(x).mean(0), [0.26, 0.43, 0.31], atol=0.045)


def test_close_modes_get_their_true_weights() -> None:
    pair = Mixture([[-1, 0], [1, 0]], [np.eye(2)] * 2, [0.9, 0.1])
    x, _ = run(pair.score, np.random.default_rng(4).uniform(-4, 4, (4000, 2)), steps=300)
    assert_allclose(x.mean(0), pair.weights @ pair.means, atol=0.08)


def test_annealing_at_one_noise_level_equals_plain_langevin_dynamics() -> None:
    start = np.random.default_rng(5).standard_normal((3, 4, 2))
    annealed = anneal(lambda x, sigma: -sigma * x, start, sigmas=[0.7], step_ratio=0.2, steps=50, snapshots=[0, 20, 50])
    plain = run(lambda x: -0.7 * x, start, step_size=0.2 * 0.7**2, steps=50, snapshots=[0, 20, 50])
    for a, b in zip(annealed, plain, strict=True):
        assert_allclose(a, b)


def test_each_noise_level_continues_the_last_with_its_own_score_and_step() -> None:
    start = np.random.default_rng(6).standard_normal((4, 2))
    x, snapshots = anneal(lambda x, sigma: -sigma * x, start, rng=NoNoise(), snapshots=[0, 2, 3, 4, 6])
    high, low = 1 - 0.1 * 2**2 * 2, 1 - 0.1
    assert_allclose(snapshots, np.stack([start * high**a * low**b for a, b in ((0, 0), (2, 0), (3, 0), (3, 1), (3, 3))]))
    assert (snapshots[-1] == x).all()


def test_annealing_samples_the_density_of_the_last_noise_level() -> None:
    schedule = np.geomspace(5, 0.5, 5)
    x, _ = anneal(lambda x, s: GAUSSIAN.smoothed(s).score(x), np.zeros((4000, 2)), sigmas=schedule, steps=150)
    assert_allclose(x.mean(0), GAUSSIAN.means[0], atol=0.1)
    assert_allclose(np.cov(x.T), GAUSSIAN.smoothed(0.5).covariances[0], atol=0.12)


def test_annealing_recovers_the_mode_weights_that_one_noise_level_misses() -> None:
    def error(x: Points) -> float:
        return float(np.abs(REFERENCE.smoothed(0.5).responsibilities(x).mean(0) - REFERENCE.weights).sum() / 2)

    start, schedule = setup.uniform_in_box(DESCRIBED, 1500, np.random.default_rng(7)), np.geomspace(10, 0.5, 8)
    densities = {sigma: REFERENCE.smoothed(sigma) for sigma in schedule}
    annealed, _ = anneal(lambda x, s: densities[s].score(x), start, sigmas=schedule, step_ratio=0.2, steps=40)
    single, _ = run(densities[schedule[-1]].score, start, steps=320)
    assert error(annealed) < 0.04 < 0.1 < error(single)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_of_annealing_raises_an_error_that_names_the_step_size() -> None:
    with pytest.raises(UserError, match=r"a step size of \S+ is too large"):
        anneal(lambda x, _: -x, np.ones((4, 2)), sigmas=[10.0], step_ratio=1.0, steps=500)


def test_exact_score_keeps_all_particles_in_the_region_of_the_largest_sigma() -> None:
    sigmas = np.geomspace(10, 0.1, 12).tolist()
    start = setup.uniform_in_box(DESCRIBED, 4000, np.random.default_rng(3))
    widest = region(DESCRIBED, max(sigmas))
    settings: dict[str, Any] = {"sigmas": sigmas, "step_ratio": 0.2, "steps": 20, "snapshots": range(0, 240, 20)}
    x, snapshots = anneal(lambda x, sigma: REFERENCE.smoothed(sigma).score(x), start, region=widest, **settings)
    assert widest.holds(snapshots).all()
    assert region(DESCRIBED, min(sigmas)).holds(x).all()
    assert np.abs(REFERENCE.responsibilities(x).mean(0) - REFERENCE.weights).max() < 0.03
    # The region without the margin of 6σ is too narrow for σ = 10.
    assert not region(DESCRIBED, 0).holds(snapshots).all()


class Outward:
    """A score that moves particles in the uppermost quarter of the box out of any region, and all others to a target."""

    sigma, step = 0.5, 0.05

    def __init__(self, target: float) -> None:
        """Put the target at (target, 0)."""
        self.target = target

    def score(self, x: Tensor) -> Tensor:
        """One step ends at the target, up to the noise, or outside any region."""
        to_target = (torch.tensor([self.target, 0.0]) - x) / self.step
        return torch.where(x[..., 1:] > 10, torch.tensor([0.0, 1e6]), to_target)


class OutwardAtEveryLevel(Outward):
    """The same score with a schedule of two noise levels."""

    sigmas, step = [4.0, 0.5], 1.0

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The score for a step size of a tenth of σ²."""
        return self.score(x) / (0.1 * sigma**2)


@pytest.mark.parametrize(("score", "largest"), [(Outward(30), 0.5), (OutwardAtEveryLevel(40), 4.0)])
def test_escaped_particles_are_counted_by_the_region_in_which_they_moved(score: Outward, largest: float) -> None:
    protocol = SimpleNamespace(
        seed=0,
        langevin=SimpleNamespace(particles=400, steps=3, step_size=score.step, frames=4),
        annealed=SimpleNamespace(particles=400, steps=3, step_ratio=0.1, frames=4),
    )
    model: Any = SimpleNamespace(trained=score, protocol=protocol, mixture=REFERENCE, described=DESCRIBED, seeds=1)
    model.device = torch.device("cpu")
    sampler = LangevinSampler(model)
    samples, particles = sampler.learned()
    escaped = particles[0, :, 1] > 10
    assert 0.2 < escaped.mean() < 0.3
    widest, last = region(DESCRIBED, largest), region(DESCRIBED, 0.5)
    assert (widest.holds(samples[0]) == ~escaped).all()
    # The region of the last level alone would not contain the target of the annealed particles.
    assert last.holds(samples[0]).any() == (largest == 0.5)
    metrics, fields = sampler.evaluate(samples, particles, sampler.control())
    assert metrics[sampler.name]["escaped"]["values"] == pytest.approx([escaped.mean()])
    assert fields["mode_weights"].sum() == pytest.approx(1 - escaped.mean())
    assert metrics[f"control_{sampler.name}"]["escaped"]["mean"] == 0
    assert fields["mode_weights_control"].sum() == pytest.approx(1)
