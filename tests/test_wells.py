"""Energy wells, score directions, denoising identity, implied scores, batch dependence: known values and broken inputs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pytest import approx
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from torch import Tensor

from stages.metrics.energy_wells import well_auroc
from stages.mog.evaluate import batch_dependence
from stages.mog.evaluation import critics, embeddings, scores
from stages.mog.problem.gaussian_mixture import Array, Mixture
from stages.nn.losses import info_nce
from stages.nn.noise import FixedNoise
from tests.plane import REFERENCE

Score = Callable[[Array], Array]
RNG = np.random.default_rng(0)
NODES = np.stack(np.meshgrid(np.linspace(-10, 10, 40), np.linspace(-5, 15, 40)), -1).reshape(-1, 2)


class TestWell:
    def test_well_auroc_is_scikit_learns_roc_auc_of_minus_the_energy(self) -> None:
        data, empty = RNG.normal(0, 1, 50).round(1), RNG.normal(1, 1, 70).round(1)
        labels = np.repeat([1, 0], [50, 70])
        assert well_auroc(data, empty) == approx(roc_auc_score(labels, -np.concatenate((data, empty))))

    def test_well_auroc_is_one_for_a_well_zero_for_a_hill_half_if_flat(self) -> None:
        low, high = np.zeros(5), np.ones(7)
        assert (well_auroc(low, high), well_auroc(high, low), well_auroc(low, np.zeros(7))) == (1, 0, 0.5)


class TestWells:
    COMPONENT = np.repeat([0, 1], 150)

    def around(self, *angles: float, count: int = 150) -> Array:
        """Embeddings (1, N, 2) of random lengths, `count` of them around each of these angles."""
        angle = np.concatenate([a + RNG.uniform(-0.1, 0.1, count) for a in angles])
        return (RNG.uniform(1, 9, len(angle)) * np.stack((np.cos(angle), np.sin(angle)))).T[None]

    def test_data_opposite_to_empty_space_has_auroc_one_and_depth_two(self) -> None:
        aurocs, depths = embeddings.well_metrics(self.around(0, 0), self.COMPONENT, self.around(np.pi))
        assert (aurocs, depths) == (approx([1]), approx([2], abs=0.03))

    def test_well_metrics_ignore_the_data_of_other_components(self) -> None:
        assert embeddings.well_metrics(self.around(0, 2)[:, ::2], self.COMPONENT[::2], self.around(1))[0] == approx([1])

    def test_empty_space_with_the_embedding_of_the_data_fills_the_well(self) -> None:
        aurocs, depths = embeddings.well_metrics(self.around(0, 2), self.COMPONENT, self.around(0))
        assert (aurocs[0], depths[0]) == (approx(0.5, abs=0.05), approx(0, abs=0.01))

    def test_collapse_removes_the_depth_but_not_the_auroc(self) -> None:
        data, empty = (np.array([1.0, 0]) + 1e-3 * self.around(*angles) for angles in ((0.5, 0.5), (-0.5,)))
        aurocs, depths = embeddings.well_metrics(data, self.COMPONENT, empty)
        assert aurocs[0] > 0.95 and 0 < depths[0] < 1e-4

    def test_a_constant_embedding_has_auroc_half_and_depth_zero(self) -> None:
        aurocs, depths = embeddings.well_metrics(np.ones((2, 300, 4)), self.COMPONENT, np.ones((2, 50, 4)))
        assert (aurocs, depths) == (approx([0.5, 0.5]), approx([0, 0], abs=1e-12))


class TestDirections:
    def metrics(self, learned: Array) -> dict[str, float]:
        """Direction metrics of a score at the nodes, (N, 2)."""
        density = REFERENCE.smoothed(0.5)
        group = scores.direction_metrics(density, learned[None], density.score(NODES), NODES)
        return {name: value["mean"] if isinstance(value, dict) else value for name, value in group.items()}

    def test_the_true_score_has_perfect_direction_metrics_at_any_scale(self) -> None:
        true = REFERENCE.smoothed(0.5).score(NODES)
        for scale in (1, 7):
            found = self.metrics(scale * true)
            assert (found["direction_support"], found["direction_outside"]) == (approx(1), approx(1))
            assert found["mode_direction_accuracy"] > 0.99

    def test_the_negated_score_has_the_worst_direction_metrics(self) -> None:
        found = self.metrics(-REFERENCE.smoothed(0.5).score(NODES))
        assert (found["direction_support"], found["direction_outside"]) == (approx(-1), approx(-1))
        assert found["mode_direction_accuracy"] < 0.01

    def test_a_random_score_has_direction_metrics_at_chance_level(self) -> None:
        found = self.metrics(np.random.default_rng(1).standard_normal(NODES.shape))
        assert (found["direction_support"], found["direction_outside"]) == (approx(0, abs=0.15), approx(0, abs=0.05))
        assert found["mode_direction_accuracy"] == approx(0.5, abs=0.05)

    def test_direction_metrics_tell_the_support_from_the_outside(self) -> None:
        density = REFERENCE.smoothed(0.5)
        log_density, true = density.log_density(NODES), density.score(NODES)
        inside = log_density > log_density.max() + np.log(1e-3)
        found = self.metrics(np.where(inside[:, None], true, -true))
        assert (found["direction_support"], found["direction_outside"]) == (approx(1), approx(-1))

    def test_baseline_is_the_better_of_the_gaussian_and_nearest_mean_baselines(self) -> None:
        density = REFERENCE.smoothed(0.5)
        mean = density.weights @ density.means
        x, _ = density.sample(200_000, np.random.default_rng(3))
        nearest = density.means[((NODES[:, None] - density.means) ** 2).sum(-1).argmin(-1)] - NODES
        guesses = [self.metrics(-(NODES - mean) @ np.linalg.inv(np.cov(x.T))), self.metrics(nearest)]
        true = self.metrics(density.score(NODES))
        for name in ("mode_direction_accuracy", "direction_outside"):
            best = max(guess[name] for guess in guesses)
            assert true[f"{name}_baseline"] == approx(best, abs=3e-3)
            assert true[f"{name}_skill"] == approx(1, abs=1e-3)
            assert max(guess[f"{name}_skill"] for guess in guesses) == approx(0, abs=0.1)
            assert self.metrics(-density.score(NODES))[f"{name}_skill"] < -1

    def test_with_one_mode_the_baseline_equals_the_score_and_has_no_skill(self) -> None:
        density, grid = Mixture([[1, 2]], [np.eye(2)], [1]), np.linspace(-6, 6, 30)
        nodes = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
        found = scores.direction_metrics(density, density.score(nodes)[None], density.score(nodes), nodes)
        assert found["mode_direction_accuracy_baseline"] == approx(1, abs=2e-3)
        assert found["direction_outside_baseline"] == approx(1)
        assert "mode_direction_accuracy_skill" not in found and "direction_outside_skill" not in found

    def test_a_box_inside_the_support_has_no_outside_metrics(self) -> None:
        density, grid = REFERENCE.smoothed(9), np.linspace(-3, 3, 12)
        nodes = np.stack(np.meshgrid(grid, grid), -1)
        flat = nodes.reshape(-1, 2)
        directions = scores.direction_metrics(density, density.score(flat)[None], density.score(flat), flat)
        energy = scores.energy_metrics(density, -density.log_density(nodes)[None], grid, grid)
        assert directions["direction_support"]["mean"] == approx(1) and "direction_outside" not in directions
        assert energy["energy_spearman_support"]["mean"] == approx(1) and "energy_auroc" not in energy


class TestDenoising:
    def metrics(self, score: Score, count: int = 200_000, sigma: float = 0.5, truth: Mixture = REFERENCE) -> dict[str, Any]:
        """Metrics of a NumPy score and of its denoising loss, against a true mixture that may be another than the score's."""

        def loss(x: Array, noise: Array) -> Array:
            antithetic = [((score(x + sigma * e) + e / sigma) ** 2).sum(-1).mean() for e in (noise, -noise)]
            return np.array([np.mean(antithetic)])

        rng = np.random.default_rng(2)
        return scores.denoising_metrics(truth, sigma, loss, lambda x: score(x)[None], count, rng)

    def test_the_true_score_has_no_excess_loss(self) -> None:
        true = REFERENCE.smoothed(0.5).score
        rng = np.random.default_rng(3)
        found = self.metrics(lambda x: true(x) + 1e-9 * rng.standard_normal(x.shape), 5000)
        assert found["excess_loss"]["mean"] == approx(0, abs=1e-6)
        assert found["fisher_divergence"]["mean"] == approx(0, abs=1e-12)

    @pytest.mark.parametrize("sigma", [0.3, 1.0])
    def test_excess_loss_of_any_score_is_its_fisher_divergence(self, sigma: float) -> None:
        true = REFERENCE.smoothed(sigma).score
        assert self.metrics(lambda x: true(x) + np.tanh(x), sigma=sigma)["excess_over_error"]["mean"] == approx(1, abs=0.03)

    def test_a_loss_at_another_noise_level_breaks_the_denoising_identity(self) -> None:
        true, sigma = REFERENCE.smoothed(0.5).score, 0.6

        def loss(x: Array, noise: Array) -> Array:
            antithetic = [((true(x + sigma * e) + e / sigma) ** 2).sum(-1).mean() for e in (noise, -noise)]
            return np.array([np.mean(antithetic)])

        found = scores.denoising_metrics(
            REFERENCE, 0.5, loss, lambda x: (true(x) + 0.1)[None], 50_000, np.random.default_rng(2)
        )
        assert abs(found["excess_over_error"]["mean"] - 1) > 1

    def test_a_wrong_mixture_raises_the_fisher_divergence(self) -> None:
        wider = Mixture(REFERENCE.means, 2 * REFERENCE.covariances, REFERENCE.weights)
        score = REFERENCE.smoothed(0.5).score
        assert self.metrics(lambda x: score(x) + 1e-6, 50_000)["fisher_divergence"]["mean"] < 1e-9
        assert self.metrics(score, 50_000, truth=wider)["fisher_divergence"]["mean"] > 0.1

    def test_chunks_are_averaged_by_their_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scores, "CHUNK", 3000)
        sizes = []

        def learned(x: Array) -> Array:
            sizes.append(len(x))
            return np.full((1, *x.shape), float(len(x)))

        found = scores.denoising_metrics(
            Mixture([[0, 0]], [1e6 * np.eye(2)], [1]), 0.5, lambda x, _: np.zeros(1), learned, 7000, np.random.default_rng(0)
        )
        assert sizes == [3000, 3000, 3000, 3000, 1000, 1000]
        assert found["fisher_divergence"]["mean"] == approx(2 * (6 * 3000**2 + 1000**2) / 7, rel=1e-3)


class TestImpliedScore:
    X, _ = REFERENCE.sample(200, np.random.default_rng(6))
    NOISE = np.random.default_rng(7).standard_normal((2, 200, 2))
    SCORE = staticmethod(REFERENCE.smoothed(0.3).score)

    def error(self, slope: Array, first: float = 0.0) -> float:
        """The implied score error of ∂c/∂x' at pairs of views; `first` is the noise of the first view."""
        pair = self.X + first * self.NOISE[0], self.X + 0.3 * self.NOISE[1]
        return critics.implied_score_error(slope[None], REFERENCE, *pair, first, 0.3).item()

    def clean(self) -> Array:
        """∂/∂x' of log p(x' | x)/p(x') with a clean first view: the score of the noise minus that of the second view."""
        other = self.X + 0.3 * self.NOISE[1]
        return np.asarray(-(other - self.X) / 0.3**2 - self.SCORE(other))

    def test_mutual_information_with_a_clean_first_view_implies_the_score(self) -> None:
        assert self.error(self.clean()) == approx(0, abs=1e-6)

    def test_mutual_information_of_two_noisy_views_implies_the_score(self) -> None:
        x, other = self.X + 0.3 * self.NOISE[0], self.X + 0.3 * self.NOISE[1]
        parts = zip(REFERENCE.means, REFERENCE.covariances, strict=True)
        noise = 0.09 * np.eye(2)
        joint = [multivariate_normal(np.tile(m, 2), np.block([[c + noise, c], [c, c + noise]])) for m, c in parts]

        def log_joint(moved: Array) -> Array:
            both = np.concatenate((x, moved), -1)
            return np.asarray(np.log(sum(w * p.pdf(both) for w, p in zip(REFERENCE.weights, joint, strict=True))))

        steps = 1e-5 * np.eye(2)
        slope = np.stack([(log_joint(other + s) - log_joint(other - s)) / 2e-5 for s in steps], -1) - self.SCORE(other)
        assert self.error(slope, first=0.3) == approx(0, abs=1e-5)

    def test_implied_score_error_is_relative_to_the_squared_norm_of_the_score(self) -> None:
        squared_norm = (self.SCORE(self.X + 0.3 * self.NOISE[1]) ** 2).sum(-1).mean()
        assert self.error(self.clean() + np.array([0.5, 0])) == approx(0.25 / squared_norm, rel=1e-3)
        zero_slope = (self.clean() ** 2).sum(-1).mean() / squared_norm
        assert self.error(np.zeros_like(self.X)) == approx(zero_slope, rel=1e-3) and zero_slope > 1


class TestBatchDependence:
    """Losses with a known batch dependence."""

    def dependence(self, loss: Callable[[Tensor, FixedNoise], Tensor]) -> float:
        generator = torch.Generator().manual_seed(0)
        batch = (torch.randn(32, 2, generator=generator), torch.randn(2, 32, 2, generator=generator), torch.ones(32, 2))
        model: Any = SimpleNamespace(
            heldout_batches=lambda: iter([batch]),
            seeds=1,
            trained=SimpleNamespace(loss=lambda x, source: {"loss": loss(x, source)}),
        )
        (found,) = batch_dependence(model)
        return float(found)

    def test_a_sum_over_single_points_has_batch_dependence_zero(self) -> None:
        assert self.dependence(lambda x, source: (x + source.normal(x) ** 2).square().sum(-1).mean(-1)) == approx(0, abs=1e-5)

    def test_noise_levels_stratified_over_the_batch_give_batch_dependence_zero(self) -> None:
        def loss(x: Tensor, source: FixedNoise) -> Tensor:
            level = torch.arange(len(x[0]))[:, None] + source.uniform(x[..., :1])
            return (level * (x + source.normal(x)) ** 3).square().sum(-1).mean(-1)

        assert self.dependence(loss) == approx(0, abs=1e-5)

    def test_in_batch_negatives_give_a_positive_batch_dependence(self) -> None:
        def loss(x: Tensor, source: FixedNoise) -> Tensor:
            first, second = x + 0.01 * source.normal(x), x + 0.01 * source.normal(x)
            return info_nce(-torch.cdist(first, second).square() / 0.01)

        assert self.dependence(loss) > 5

    def test_attraction_between_points_gives_batch_dependence_minus_one(self) -> None:
        assert self.dependence(lambda x, source: (x.unsqueeze(-2) - x.unsqueeze(-3)).square().sum(-1).mean((-1, -2))) == approx(
            -1
        )


def test_a_box_without_empty_space_has_no_well_metrics() -> None:
    log_density = np.zeros(4)
    mixture = SimpleNamespace(log_density=lambda nodes: log_density)
    model: Any = SimpleNamespace(mixture=mixture, nodes=np.zeros((4, 2)))
    assert embeddings._wells(model, np.ones((1, 5, 2)), np.ones((1, 5, 2))) == {}
