"""Every metric on the mixture: its known value on an exact input and its bad value on a broken one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from ot.sliced import sliced_wasserstein_distance
from pytest import approx
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from torch import Tensor

from stages.metrics import collapse, hypersphere, sampling, score_error, structure
from stages.metrics.summary import over_seeds, rounded
from stages.mog.evaluation import conditionals, critics, scores
from stages.mog.evaluation.sampling import Comparison, mode_weights
from stages.mog.evaluation.sampling import region as particles_region
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Array, Mixture
from tests.methods import Ignorant, TrueConditionals, conditional_model
from tests.plane import DESCRIBED, MOG, REFERENCE

GRID_X, GRID_Y = setup.grid_axes(DESCRIBED, MOG.evaluation.grid)
NODES = np.stack(np.meshgrid(GRID_X, GRID_Y), -1)
STEP = (GRID_X[1] - GRID_X[0], GRID_Y[1] - GRID_Y[0])
CLOUD = np.random.default_rng(0).standard_normal((3, 400, 16))
PLANE = np.random.default_rng(1).standard_normal((200, 2))


class TestCollapse:
    def test_total_variance_is_the_trace_of_the_covariance(self) -> None:
        expected = [np.trace(np.cov(z.T, bias=True)) for z in CLOUD]
        assert_allclose(collapse.total_variance(CLOUD), expected)

    def test_total_variance_is_invariant_to_shifts_and_quadratic_in_scale(self) -> None:
        assert_allclose(collapse.total_variance(3 * CLOUD + 7), 9 * collapse.total_variance(CLOUD))

    def test_constant_embeddings_have_total_variance_and_normalised_std_zero_and_rankme_one(self) -> None:
        constant = np.ones((2, 50, 16))
        assert_allclose(collapse.total_variance(constant), 0, atol=1e-12)
        assert_allclose(collapse.normalised_std(constant), 0, atol=1e-12)
        assert_allclose(collapse.rankme(constant), 1, atol=1e-6)

    def test_every_collapse_metric_of_zero_embeddings_is_finite(self) -> None:
        zero = np.zeros((2, 50, 16))
        for function in (collapse.total_variance, collapse.normalised_std, collapse.rankme):
            assert np.isfinite(function(zero)).all()

    def test_embeddings_uniform_on_the_sphere_have_normalised_std_one(self) -> None:
        axes = np.concatenate((np.eye(16), -np.eye(16)))[None]
        assert_allclose(collapse.normalised_std(axes), 1)
        assert_allclose(collapse.normalised_std(CLOUD), 1, atol=0.02)

    def test_embeddings_on_a_ray_have_normalised_std_zero(self) -> None:
        ray = np.linspace(1, 9, 50)[:, None] * CLOUD[:, :1]
        assert_allclose(collapse.normalised_std(ray), 0, atol=1e-7)

    @pytest.mark.parametrize("rank", [1, 2, 5, 16])
    def test_rankme_of_k_equally_frequent_orthogonal_vectors_is_k(self, rank: int) -> None:
        assert_allclose(collapse.rankme(np.tile(np.eye(16)[:rank], (2, 10, 1))), rank, rtol=1e-6)

    def test_rankme_is_the_exponential_of_the_singular_values_entropy(self) -> None:
        singular = [np.linalg.svd(z, compute_uv=False) for z in CLOUD]
        assert_allclose(collapse.rankme(CLOUD), [np.exp(stats.entropy(s)) for s in singular], rtol=1e-6)

    def test_only_total_variance_detects_a_collapse_of_scale(self) -> None:
        shrunk = 1e-3 * CLOUD
        assert (collapse.total_variance(shrunk) < 1e-5 * collapse.total_variance(CLOUD)).all()
        assert_allclose(collapse.normalised_std(shrunk), collapse.normalised_std(CLOUD))
        assert_allclose(collapse.rankme(shrunk), collapse.rankme(CLOUD))

    def test_normalised_std_detects_a_collapse_of_direction_that_total_variance_misses(self) -> None:
        lengths = np.linspace(1, 100, 400)[:, None]
        narrow = lengths * (np.eye(16)[0] + 1e-3 * CLOUD)
        assert (collapse.total_variance(narrow) > collapse.total_variance(CLOUD)).all()
        assert (collapse.normalised_std(narrow) < 0.01).all()

    def test_normalise_returns_unit_vectors_and_keeps_zero_vectors(self) -> None:
        assert_allclose(np.linalg.norm(collapse.normalise(CLOUD), axis=-1), 1)
        assert (collapse.normalise(np.zeros((2, 3))) == 0).all()


class TestHypersphere:
    def test_alignment_of_parallel_embeddings_is_zero(self) -> None:
        assert_allclose(hypersphere.alignment(CLOUD, 5 * CLOUD), 0, atol=1e-12)

    def test_alignment_of_opposite_embeddings_is_four_and_of_orthogonal_ones_two(self) -> None:
        x, y = np.eye(2)[:1], np.eye(2)[1:]
        assert hypersphere.alignment(x, -x) == approx(4)
        assert hypersphere.alignment(x, y) == approx(2)

    def test_alignment_of_independent_embeddings_is_two(self) -> None:
        assert_allclose(hypersphere.alignment(CLOUD, CLOUD[:, ::-1]), 2, atol=0.1)

    def test_uniformity_of_parallel_embeddings_is_zero_and_of_opposite_ones_minus_eight(self) -> None:
        assert hypersphere.uniformity(np.ones((10, 4))) == approx(0, abs=1e-9)
        assert hypersphere.uniformity(np.array([[1.0, 0], [-1, 0]])) == approx(-8)

    def test_uniformity_of_orthogonal_embeddings_is_minus_four(self) -> None:
        assert hypersphere.uniformity(np.eye(16)) == approx(-4)

    def test_uniformity_is_the_formula_of_the_paper_over_all_pairs(self) -> None:
        expected = [np.log(np.exp(-2 * pdist(collapse.normalise(z)) ** 2).mean()) for z in CLOUD]
        assert_allclose(hypersphere.uniformity(CLOUD), expected)

    def test_uniformity_of_zero_embeddings_is_zero(self) -> None:
        assert hypersphere.uniformity(np.zeros((10, 4))) == approx(0, abs=1e-9)


class TestStructure:
    def test_a_similarity_transform_preserves_distances_and_neighbours(self) -> None:
        similar = 3 * PLANE @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 5
        assert structure.distance_spearman(PLANE, similar) == approx(1)
        assert structure.trustworthiness(PLANE, similar, 5) == structure.continuity(PLANE, similar, 5) == 1

    def test_unrelated_embeddings_have_structure_metrics_at_chance_level(self) -> None:
        other = np.random.default_rng(2).standard_normal((200, 16))
        assert abs(structure.distance_spearman(PLANE, other)) < 0.1
        assert structure.trustworthiness(PLANE, other, 5) == approx(0.5, abs=0.07)
        assert structure.continuity(PLANE, other, 5) == approx(0.5, abs=0.07)

    def test_silhouette_is_one_for_point_clusters_and_zero_for_unrelated_labels(self) -> None:
        component = np.arange(200) % 2
        assert structure.silhouette(np.eye(2)[component], component) == 1
        assert abs(structure.silhouette(PLANE, component)) < 0.05
        assert structure.silhouette(PLANE, np.zeros(200, dtype=int)) == 0

    def test_exchanging_near_and_far_gives_a_negative_distance_spearman(self) -> None:
        line = np.arange(3.0)[:, None]
        assert structure.distance_spearman(line, np.array([[0.0], [9], [1]])) == approx(-0.866, abs=1e-3)

    def test_distance_spearman_of_coinciding_embeddings_is_zero(self) -> None:
        assert structure.distance_spearman(PLANE, np.ones((200, 16))) == 0

    def test_distance_spearman_is_the_correlation_of_the_ranks_of_all_distances(self) -> None:
        ranks = [stats.rankdata(pdist(a)) for a in (PLANE, PLANE**3)]
        assert structure.distance_spearman(PLANE, PLANE**3) == approx(np.corrcoef(*ranks)[0, 1])

    def test_projection_lowers_trustworthiness_and_tearing_lowers_continuity(self) -> None:
        projected = PLANE * [1, 0]
        torn = PLANE + 100 * (np.arange(200)[:, None] % 2)
        assert structure.trustworthiness(PLANE, projected, 5) < structure.continuity(PLANE, projected, 5)
        assert structure.continuity(PLANE, torn, 5) < structure.trustworthiness(PLANE, torn, 5)

    def test_continuity_is_scikit_learns_trustworthiness_with_exchanged_arguments(self) -> None:
        other = PLANE**3
        assert structure.continuity(PLANE, other, 7) == sklearn_trustworthiness(other, PLANE, n_neighbors=7)


class TestScoreError:
    def test_relative_fisher_error_of_true_zero_and_negated_scores_is_0_1_4(self) -> None:
        true = np.tile(PLANE, (3, 1, 1))
        scaled = np.array([1, 0, -1])[:, None, None] * true
        assert_allclose(score_error.relative_error(scaled, PLANE), [0, 1, 4])

    def test_potential_of_a_constant_score_is_linear(self) -> None:
        field = np.broadcast_to([2.0, -3.0], NODES.shape)
        energy = score_error.potential(field, *STEP, sigma=0.5)
        plane = -NODES @ [2.0, -3.0]
        assert_allclose(energy - energy[0, 0], plane - plane[0, 0], atol=1e-6)

    def test_potential_of_a_linear_score_is_its_quadratic_energy(self) -> None:
        energy = score_error.potential(-NODES * [1, 4], *STEP, sigma=0.0)
        expected = (NODES**2 * [1, 4]).sum(-1) / 2
        assert_allclose(energy - energy[0, 0], expected - expected[0, 0], atol=1e-6)

    @pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0])
    def test_potential_of_the_exact_score_is_minus_log_p_with_its_constant(self, sigma: float) -> None:
        density = REFERENCE.smoothed(sigma)
        log_density = density.log_density(NODES)
        energy = score_error.potential(density.score(NODES), *STEP, sigma)
        assert np.abs(energy + log_density)[log_density > log_density.max() + np.log(score_error.SUPPORT)].max() < 0.05

    def test_potential_of_a_rotational_score_is_flat(self) -> None:
        offset = NODES - [0, 5]
        rotational = np.exp(-(offset**2).sum(-1, keepdims=True) / 8) * offset[..., ::-1] * [-1, 1]
        assert np.ptp(score_error.potential(rotational, *STEP, sigma=0.0)) < 0.002 * np.abs(rotational).max()

    def test_score_errors_far_from_the_data_do_not_distort_the_potential_on_it(self) -> None:
        density = REFERENCE.smoothed(0.5)
        log_density = density.log_density(NODES)
        wrong = density.score(NODES) + np.where(log_density < -20, 100, 0)[..., None] * [1, 0]
        weighted, plain = (score_error.potential(wrong, *STEP, sigma) + log_density for sigma in (0.5, 0.0))
        assert np.ptp(weighted[log_density > -6]) < 1 < 50 < np.ptp(plain[log_density > -6])

    def test_potential_is_computed_separately_for_each_seed(self) -> None:
        fields = np.random.default_rng(3).standard_normal((2, 3, 5, 6, 2))
        alone = score_error.potential(fields[1, 2], 0.3, 0.4, 0.5)
        assert_allclose(score_error.potential(fields, 0.3, 0.4, 0.5)[1, 2], alone)

    @pytest.mark.parametrize("scale", [1.0, 100.0])
    def test_normalised_energy_defines_a_density_and_keeps_energy_differences(self, scale: float) -> None:
        energy = scale * np.random.default_rng(4).standard_normal((2, 9, 7))
        normal = score_error.normalised_energy(energy, 0.5, 0.2)
        assert_allclose(np.exp(-normal).sum((-2, -1)) * 0.5 * 0.2, 1)
        assert_allclose(np.diff(normal), np.diff(energy), atol=1e-9)

    def test_spearman_within_modes_ignores_a_constant_per_mode_but_not_the_sign(self) -> None:
        log_density, mode = self._modes()
        shift = np.array([0.0, 50, -20])[mode]
        assert score_error.spearman_within_modes(-log_density + shift, log_density, mode) == approx(1, abs=1e-4)
        assert score_error.spearman_within_modes(log_density + shift, log_density, mode) == approx(-1, abs=1e-4)

    def test_spearman_within_modes_of_noise_is_zero(self) -> None:
        log_density, mode = self._modes()
        noise = np.random.default_rng(5).standard_normal(len(mode))
        assert score_error.spearman_within_modes(noise, log_density, mode) == approx(0, abs=0.15)

    @pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
    def test_spearman_within_modes_of_a_constant_energy_is_zero(self) -> None:
        log_density, mode = self._modes()
        assert score_error.spearman_within_modes(np.zeros(len(mode)), log_density, mode) == 0

    def test_spearman_within_modes_uses_the_support_only(self) -> None:
        log_density, mode = self._modes()
        outside = log_density < log_density.max() + np.log(score_error.SUPPORT)
        energy = np.where(outside, log_density, -log_density)
        assert score_error.spearman_within_modes(energy, log_density, mode) == approx(1, abs=1e-4)

    def test_gap_error_ignores_a_global_constant_and_nothing_else(self) -> None:
        log_density = np.array([-1.0, -2, -4])
        assert score_error.gap_error(7 - log_density, log_density) == approx(0)
        assert score_error.gap_error([3, 0, 0] - log_density, log_density) == approx((3 + 3 + 0) / 3)
        assert score_error.gap_error(np.zeros(3), log_density) == approx((1 + 3 + 2) / 3)

    @staticmethod
    def _modes() -> tuple[Array, np.ndarray]:
        """The log-density and the most probable mode of each node of the grid."""
        nodes = NODES.reshape(-1, 2)
        return REFERENCE.log_density(nodes), REFERENCE.component_log_density(nodes).argmax(-1)


class TestLikelihood:
    def test_nll_of_the_analytic_density_is_its_floor_and_of_others_higher(self) -> None:
        x, _ = REFERENCE.sample(20_000, np.random.default_rng(9))
        true = [REFERENCE.conditional_log_density(hidden, x) for hidden in (0, 1)]
        group = conditionals.likelihood_metrics(REFERENCE, x, [np.stack((one, one - 0.5)) for one in true])
        for name, nll in (("nll_x0_given_x1", 1.456), ("nll_x1_given_x0", 1.065)):
            floor = group[f"{name}_floor"]
            assert floor == approx(nll, abs=0.02)
            assert group[name]["values"] == approx([floor, floor + 0.5], abs=1e-5)

    def test_a_method_without_a_density_has_no_likelihood_metrics(self) -> None:
        assert conditionals.likelihood_metrics(REFERENCE, PLANE, []) == {}


def nonlinear(x: Tensor) -> Tensor:
    """A nonlinear embedding in three dimensions."""
    return torch.stack((torch.sin(x[..., 0]), x[..., 0] * x[..., 1], torch.exp(-x.square().sum(-1) / 9)), -1).double()[None]


class MeanEmbedding(TrueConditionals):
    """Predicts the mean embedding over the conditional or, if not `conditional`, the marginal density of a coordinate."""

    def __init__(self, embedding: Callable[[Tensor], Tensor], *, conditional: bool) -> None:
        self.embedding, self.conditional = embedding, conditional

    def embed(self, x: Tensor) -> Tensor:
        return self.embedding(x)

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        hidden = int(visible[0].argmin())
        # The trapezoidal rule, independent of the Gauss-Hermite quadrature under test.
        axis = np.linspace(-12, 17, 2901)
        points = np.repeat(x.double().numpy()[:, None], len(axis), 1)
        points[..., hidden] = axis
        flat = points.reshape(-1, 2)
        log_density = REFERENCE.conditional_log_density(hidden, flat)
        if not self.conditional:
            log_density = REFERENCE.marginal_log_density(hidden, flat[:, hidden])
        density = np.exp(log_density).reshape(points.shape[:-1])
        embedded = self.embedding(torch.from_numpy(flat))[0].numpy().reshape(*points.shape[:-1], -1)
        return torch.from_numpy(np.trapezoid(density[..., None] * embedded, axis, axis=1))[None]


class TestDependence:
    """The fraction of the dependence between the coordinates that a predicted embedding misses."""

    TRAIN, TEST = (REFERENCE.sample(count, np.random.default_rng(count))[0] for count in (300, 60))

    def errors(self, method: TrueConditionals) -> list[float]:
        """The dependence errors of a method for the hidden coordinate 0, then 1."""
        model = conditional_model(method, self.TRAIN, self.TEST)
        group = conditionals.evaluate_conditionals(model)[0]["conditional"]
        return [group[f"dependence_error_x{hidden}_given_x{1 - hidden}"]["mean"] for hidden in (0, 1)]

    def test_expected_embeddings_of_the_identity_are_the_analytic_means(self) -> None:
        model = conditional_model(TrueConditionals(), self.TRAIN, self.TEST)
        for hidden in (0, 1):
            seen = 1 - hidden
            best, independent = conditionals.expected_embeddings(model, self.TEST, hidden)
            assert best.shape == independent.shape == (1, *self.TEST.shape)
            assert_allclose(best[0, :, hidden], REFERENCE.conditional_mean(hidden, self.TEST[:, seen]), atol=1e-4)
            assert_allclose(independent[0, :, hidden], REFERENCE.weights @ REFERENCE.means[:, hidden], atol=1e-4)
            for expected in (best, independent):
                assert_allclose(expected[0, :, seen], self.TEST[:, seen], atol=1e-4)

    def test_a_constant_embedding_has_dependence_error_one_without_affecting_other_seeds(self) -> None:
        z = np.random.default_rng(0).standard_normal((30, 4))
        best, independent = np.stack([np.ones_like(z), z]), np.stack([np.ones_like(z) + 1e-8, z + 1])
        assert conditionals.dependence_error(best, independent, best) == approx([1, 0])

    def test_independent_coordinates_have_no_dependence_error(self) -> None:
        model = conditional_model(TrueConditionals(), self.TRAIN, self.TEST)
        model.mixture = Mixture([[0, 0]], [np.eye(2)], [1])
        assert not [
            name for name in conditionals.evaluate_conditionals(model)[0]["conditional"] if name.startswith("dependence")
        ]

    @pytest.mark.parametrize("width", [1, 1e-2, 1e-4])
    def test_expected_embeddings_are_exact_however_narrow_the_modes(self, width: float) -> None:
        narrow = Mixture([[0, 0], [5, 5], [-5, 5]], [width**2 * np.array([[1, 0.5], [0.5, 1]])] * 3, [0.4, 0.35, 0.25])
        model = conditional_model(TrueConditionals(), self.TRAIN, self.TEST)
        model.mixture = narrow
        points, _ = narrow.sample(50, np.random.default_rng(1))
        best, independent = conditionals.expected_embeddings(model, points, 0)
        assert_allclose(best[0, :, 0], narrow.conditional_mean(0, points[:, 1]), atol=1e-4)
        assert_allclose(independent[0, :, 0], narrow.weights @ narrow.means[:, 0], atol=1e-4)

    @pytest.mark.parametrize("embedding", [TrueConditionals().embed, nonlinear], ids=["identity", "nonlinear"])
    def test_dependence_error_is_zero_for_the_conditional_and_one_for_the_marginal_mean(
        self, embedding: Callable[[Tensor], Tensor]
    ) -> None:
        assert self.errors(MeanEmbedding(embedding, conditional=True)) == approx([0, 0], abs=1e-6)
        assert self.errors(MeanEmbedding(embedding, conditional=False)) == approx([1, 1], rel=1e-3)

    def test_dependence_error_is_zero_for_the_truth_and_above_one_for_constants(self) -> None:
        assert self.errors(TrueConditionals()) == approx([0, 0], abs=1e-6)
        assert min(self.errors(Ignorant())) > 1

    def test_dependence_error_halfway_to_the_marginal_mean_is_a_quarter_per_seed(self) -> None:
        best, independent = np.random.default_rng(13).standard_normal((2, 3, 50, 4))
        parts = np.array([0, 0.5, 1])[:, None, None]
        found = conditionals.dependence_error(best, independent, best + parts * (independent - best))
        assert_allclose(found, [0, 0.25, 1])

    def test_mutual_information_of_the_coordinates_is_its_integral(self) -> None:
        x, _ = REFERENCE.sample(20_000, np.random.default_rng(14))
        found = conditionals.prediction_metrics(REFERENCE, x[:100], x[None, :100], x, [x[None]] * 2, 5)["mutual_information"]
        # The reference mixture has almost no mass outside these nodes.
        axis = np.linspace(-14, 18, 641)
        nodes = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
        joint = REFERENCE.log_density(nodes)
        product = sum(REFERENCE.marginal_log_density(c, nodes[:, c]) for c in (0, 1))
        exact = float((np.exp(joint) * (joint - product)).sum() * (axis[1] - axis[0]) ** 2)
        assert found == approx(exact, abs=0.03)


class TestCritic:
    TRUTH = np.random.default_rng(10).normal(-5, 4, (30, 40))

    def metrics(self, *learned: Array, truth: Array = TRUTH) -> tuple[list[float], list[float]]:
        """R² and Spearman's correlation of critics with the PMI, one value per critic."""
        group = critics.critic_metrics(np.stack(learned), truth)
        return group["r2_pmi"]["values"], group["spearman_pmi"]["values"]

    def test_pmi_plus_a_function_of_the_first_view_has_perfect_critic_metrics(self) -> None:
        shift = np.random.default_rng(11).normal(0, 50, (30, 1))
        assert self.metrics(self.TRUTH, self.TRUTH + shift) == (approx([1, 1]), approx([1, 1]))

    def test_adding_a_function_of_the_second_view_lowers_the_critic_metrics(self) -> None:
        r2, spearman = self.metrics(self.TRUTH + np.linspace(0, 30, 40))
        assert r2[0] < 0.5 and spearman[0] < 0.8

    @pytest.mark.parametrize("value", [0.0, 0.1, 7.3])
    def test_a_constant_critic_has_r2_and_spearman_zero(self, value: float) -> None:
        assert self.metrics(np.full((30, 40), value)) == (approx([0], abs=1e-6), approx([0], abs=0.02))

    def test_scaling_the_critic_lowers_r2_and_keeps_the_ranks_up_to_sign(self) -> None:
        half, opposite = self.TRUTH / 2, -self.TRUTH
        assert self.metrics(half, opposite) == (approx([0.75, -3], abs=1e-5), approx([1, -1]))

    def test_pairs_with_a_very_low_pmi_are_left_out(self) -> None:
        left_out = self.TRUTH < critics.LOWEST_PMI
        assert 0.05 < left_out.mean() < 0.2
        assert self.metrics(np.where(left_out, 1e6, self.TRUTH)) == (approx([1]), approx([1]))

    def test_a_first_view_with_no_likely_second_view_is_left_out(self) -> None:
        truth = np.concatenate((self.TRUTH, np.full((1, 40), -99.0)))
        assert self.metrics(truth, truth=truth) == (approx([1]), approx([1]))


class TestEnergy:
    def metrics(self, energy: Array) -> dict[str, float]:
        """Energy metrics of an energy on the grid, (H, W)."""
        group = scores.energy_metrics(REFERENCE, energy[None], GRID_X, GRID_Y)
        return {name.removeprefix("energy_"): value["mean"] for name, value in group.items()}

    def test_minus_log_p_plus_a_constant_has_perfect_energy_metrics(self) -> None:
        perfect = {"spearman_within_modes": 1, "spearman_support": 1, "auroc": 1, "spearman_box": 1, "gap_error": 0}
        assert self.metrics(7 - REFERENCE.log_density(NODES)) == approx(perfect, abs=1e-4)

    def test_only_spearman_within_modes_ignores_wrong_offsets_of_the_modes(self) -> None:
        mode = REFERENCE.component_log_density(NODES).argmax(-1)
        found = self.metrics(np.array([0.0, 50, -20])[mode] - REFERENCE.log_density(NODES))
        assert found["spearman_within_modes"] == approx(1, abs=1e-4)
        assert found["spearman_support"] < 0.5
        assert found["gap_error"] == approx((50 + 20 + 70) / 3)

    def test_spearman_box_includes_the_nodes_outside_the_support(self) -> None:
        log_density = REFERENCE.log_density(NODES)
        outside = log_density < log_density.max() + np.log(score_error.SUPPORT)
        found = self.metrics(np.where(outside, log_density, -log_density))
        assert found["spearman_support"] == approx(1, abs=1e-4)
        assert found["spearman_box"] < 0

    def test_a_constant_energy_has_spearman_zero(self) -> None:
        found = self.metrics(np.zeros(NODES.shape[:-1]))
        assert found["spearman_within_modes"] == found["spearman_support"] == found["spearman_box"] == 0


class TestSampling:
    def test_exact_samples_have_low_values_of_every_sampling_metric(self) -> None:
        rng = np.random.default_rng(6)
        (a, _), (b, _) = REFERENCE.sample(2000, rng), REFERENCE.sample(2000, rng)
        assert sampling.mode_weight_tv(REFERENCE.responsibilities(a).mean(0), REFERENCE.weights) < 0.03
        assert abs(sampling.energy_distance(a, b)) < 0.02
        assert sampling.sliced_wasserstein(a, b, sampling.unit_directions(64)) < 0.5

    def test_wrong_mode_weights_raise_every_sampling_metric(self) -> None:
        rng = np.random.default_rng(7)
        wrong = Mixture(REFERENCE.means, REFERENCE.covariances, [0.26, 0.43, 0.31])
        (a, _), (b, _) = wrong.sample(2000, rng), REFERENCE.sample(2000, rng)
        assert sampling.mode_weight_tv(REFERENCE.responsibilities(a).mean(0), REFERENCE.weights) == approx(0.14, abs=0.03)
        assert sampling.energy_distance(a, b) > 0.02
        assert sampling.sliced_wasserstein(a, b, sampling.unit_directions(64)) > 0.5

    def test_total_variation_of_one_sampled_mode_is_the_weight_of_the_others(self) -> None:
        assert sampling.mode_weight_tv(np.array([1.0, 0, 0]), REFERENCE.weights) == approx(0.6)
        assert sampling.mode_weight_tv(REFERENCE.weights, REFERENCE.weights) == approx(0)

    def test_escaped_particles_count_in_no_mode_and_add_to_the_total_variation(self) -> None:
        assert sampling.mode_weight_tv(0.9 * REFERENCE.weights, REFERENCE.weights) == approx(0.1)
        region = particles_region(DESCRIBED, 0.5)
        inside, _ = REFERENCE.sample(400, np.random.default_rng(9))
        samples = np.concatenate((inside[:300], np.tile(region.high, (100, 1))))[None]
        assert mode_weights(REFERENCE, samples, region).sum() == approx(0.75)
        found = Comparison(REFERENCE, region, samples.shape[1], np.random.default_rng(0)).metrics(samples)
        assert found["escaped"]["values"] == [0.25]
        assert found["mode_weight_tv"]["mean"] == approx(0.25, abs=0.05)

    def test_energy_distance_of_two_point_masses_is_twice_their_distance(self) -> None:
        assert sampling.energy_distance(np.zeros((5, 2)), np.tile([3.0, 4.0], (7, 1))) == approx(10)

    def test_energy_coefficient_is_at_most_one_and_invariant_to_the_unit(self) -> None:
        a, b = np.zeros((5, 2)), np.tile([3.0, 4.0], (7, 1))
        rng = np.random.default_rng(1)
        near, wide = rng.standard_normal((300, 2)), 2 * rng.standard_normal((300, 2))
        assert sampling.energy_coefficient(a, b) == sampling.energy_coefficient(1000 * a, 1000 * b) == approx(1)
        assert sampling.energy_coefficient(1000 * near, 1000 * wide) == approx(sampling.energy_coefficient(near, wide))
        assert 0.02 < sampling.energy_coefficient(near, wide) < 0.2

    def test_energy_distance_on_a_line_is_scipys_without_its_bias(self) -> None:
        a, b = PLANE[:80, 0], PLANE[80:, 1] + 0.5
        bias = sum(2 * pdist(x[:, None]).sum() / (n := len(x)) ** 2 / (n - 1) for x in (a, b))
        line = np.outer(a, [1, 0]), np.outer(b, [1, 0])
        assert sampling.energy_distance(*line) == approx(stats.energy_distance(a, b) ** 2 - bias)

    def test_energy_distance_of_few_samples_of_one_density_is_unbiased(self) -> None:
        few = np.random.default_rng(8).standard_normal((1000, 2, 5, 2))
        distances = np.array([sampling.energy_distance(a, b) for a, b in few])
        assert distances.mean() == approx(0, abs=4 * distances.std() / 1000**0.5)
        assert distances.min() < 0

    def test_sliced_wasserstein_matches_pot(self) -> None:
        a, b, directions = PLANE[:100], 2 * PLANE[100:] + 1, sampling.unit_directions(16)
        expected = sliced_wasserstein_distance(a, b, projections=directions.T)
        assert sampling.sliced_wasserstein(a, b, directions) == approx(expected)

    def test_sliced_wasserstein_of_a_shift_is_its_length_over_root_two(self) -> None:
        shifted = PLANE[::-1] + np.array([3, 4])
        assert sampling.sliced_wasserstein(PLANE, shifted, sampling.unit_directions(64)) == approx(5 / 2**0.5)

    def test_sliced_wasserstein_of_a_permuted_sample_is_zero(self) -> None:
        assert sampling.sliced_wasserstein(PLANE, PLANE[::-1], sampling.unit_directions(8)) == approx(0)

    def test_unit_directions_are_isotropic_and_no_two_are_opposite(self) -> None:
        directions = sampling.unit_directions(64)
        assert_allclose(np.linalg.norm(directions, axis=-1), 1)
        assert_allclose(directions.T @ directions / 64, np.eye(2) / 2, atol=1e-12)
        assert np.abs(np.triu(directions @ directions.T, 1)).max() < 0.9999


class TestSummary:
    def test_a_metric_is_reported_as_mean_population_std_and_values(self) -> None:
        assert over_seeds([1, 2, 4, 5]) == {"mean": 3, "std": rounded(2.5**0.5), "values": [1, 2, 4, 5]}

    def test_a_single_number_is_reported_as_the_value_of_one_seed(self) -> None:
        assert over_seeds(0.25) == {"mean": 0.25, "std": 0, "values": [0.25]}

    @pytest.mark.parametrize(("value", "expected"), [(1 / 3, 0.333333), (1234567, 1234570), (1.2345678e-9, 1.23457e-9)])
    def test_values_are_rounded_to_six_significant_digits(self, value: float, expected: float) -> None:
        assert rounded(value) == expected

    def test_reported_values_are_plain_floats(self) -> None:
        assert {type(v) for v in over_seeds(np.float32([1, 2]))["values"]} == {float}


def test_read_out_is_the_mean_over_the_nearest_neighbours() -> None:
    index = np.array([[0.0], [1.0], [10.0]])
    read = conditionals.read_out(np.array([2.0, 4.0, 7.0]), index, np.array([[0.4], [9.0]]), 2)
    assert_allclose(read, [3.0, 5.5])
