"""The analytic mixture: density, score, conditionals, views and samples, against scikit-learn, SciPy and integration."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pytest import approx
from scipy.stats import multivariate_normal, norm
from sklearn.mixture import GaussianMixture
from sklearn.mixture._gaussian_mixture import _compute_precision_cholesky

from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Array, Mixture
from tests.plane import DESCRIBED, MOG, REFERENCE

EYE = np.eye(2)


def random_mixture(seed: int) -> Mixture:
    """A mixture of `seed` + 1 components with random parameters."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((seed + 1, 2, 2))
    covariances = root @ root.swapaxes(-1, -2) + 0.2 * EYE
    return Mixture(rng.uniform(-4, 4, (seed + 1, 2)), covariances, rng.dirichlet(np.full(seed + 1, 3.0)))


def oracle(mixture: Mixture) -> GaussianMixture:
    """The same mixture in scikit-learn."""
    fitted = GaussianMixture(len(mixture.weights))
    fitted.means_, fitted.covariances_, fitted.weights_ = mixture.means, mixture.covariances, mixture.weights
    fitted.precisions_cholesky_ = _compute_precision_cholesky(mixture.covariances, "full")
    return fitted


def lattice(low: float, high: float, count: int) -> tuple[Array, float]:
    """The nodes of a square grid (count², 2) and the area of one of its cells."""
    axis = np.linspace(low, high, count)
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), (axis[1] - axis[0]) ** 2


mixtures = pytest.mark.parametrize("mixture", [REFERENCE, *map(random_mixture, range(5))], ids=["reference", *"01234"])
points = np.random.default_rng(0).uniform(-8, 12, (200, 2))


@mixtures
def test_log_density_matches_scikit_learn(mixture: Mixture) -> None:
    assert_allclose(mixture.log_density(points), oracle(mixture).score_samples(points), rtol=1e-9)


@mixtures
def test_responsibilities_match_scikit_learn(mixture: Mixture) -> None:
    assert_allclose(mixture.responsibilities(points), oracle(mixture).predict_proba(points), rtol=1e-7, atol=1e-300)


@mixtures
def test_component_density_is_scipys_normal_times_its_weight(mixture: Mixture) -> None:
    for k, (mean, covariance, weight) in enumerate(zip(mixture.means, mixture.covariances, mixture.weights, strict=True)):
        expected = np.log(weight) + multivariate_normal(mean, covariance).logpdf(points)
        assert_allclose(mixture.component_log_density(points)[:, k], expected, rtol=1e-9)


@mixtures
def test_responsibilities_sum_to_one(mixture: Mixture) -> None:
    assert_allclose(mixture.responsibilities(points).sum(-1), 1, rtol=1e-12)


@mixtures
def test_score_is_the_gradient_of_the_log_density(mixture: Mixture) -> None:
    up, down = (np.stack([mixture.log_density(points + h * e) for e in EYE], -1) for h in (1e-5, -1e-5))
    assert_allclose(mixture.score(points), (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


@mixtures
def test_density_integrates_to_one_and_the_mean_score_is_zero(mixture: Mixture) -> None:
    nodes, area = lattice(-20, 20, 201)
    density = np.exp(mixture.log_density(nodes)) * area
    assert density.sum() == approx(1, abs=1e-6)
    assert_allclose(density @ mixture.score(nodes), 0, atol=1e-6)


def test_score_of_one_gaussian_is_linear() -> None:
    gaussian = random_mixture(0)
    expected = (gaussian.means - points) @ np.linalg.inv(gaussian.covariances[0])
    assert_allclose(gaussian.score(points), expected, rtol=1e-10)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_smoothed_density_is_the_convolution_with_a_gaussian(sigma: float) -> None:
    mixture = random_mixture(2)
    x, _ = mixture.sample(200_000, np.random.default_rng(1))
    at = mixture.means[0]
    convolved = np.exp(-((x - at) ** 2).sum(-1) / (2 * sigma**2)).mean() / (2 * np.pi * sigma**2)
    assert np.exp(mixture.smoothed(sigma).log_density(at)) == approx(convolved, rel=0.05)


def test_smoothing_adds_variances_and_sigma_zero_changes_nothing() -> None:
    assert_allclose(REFERENCE.smoothed(0).score(points), REFERENCE.score(points))
    assert_allclose(REFERENCE.smoothed(3).smoothed(4).log_density(points), REFERENCE.smoothed(5).log_density(points))


@mixtures
@pytest.mark.parametrize("hidden", [0, 1])
def test_conditional_density_is_the_joint_over_the_marginal(mixture: Mixture, hidden: int) -> None:
    seen, axis = np.array([-1.0, 0.0, 4.5]), np.linspace(-30, 30, 6001)
    joint = np.exp(mixture.log_density(np.stack(np.broadcast_arrays(axis, seen[:, None])[:: 1 - 2 * hidden], -1)))
    expected = joint / np.trapezoid(joint, axis)[:, None]
    weights, means, variances = mixture.conditional(hidden, seen)
    density = (weights[:, None] * norm.pdf(axis[:, None], means[:, None], np.sqrt(variances))).sum(-1)
    assert_allclose(density, expected, atol=1e-8)
    assert_allclose(mixture.conditional_mean(hidden, seen), np.trapezoid(axis * expected, axis), atol=1e-6)


def test_conditional_mean_of_one_gaussian_is_the_regression_line() -> None:
    gaussian = Mixture([[1, 2]], [[[1, 0.8], [0.8, 1]]], [1])
    assert_allclose(gaussian.conditional_mean(1, [1, 3]), [2, 2 + 0.8 * 2])


def test_conditional_mean_of_uncorrelated_coordinates_is_constant() -> None:
    assert_allclose(Mixture([[1, 2]], [EYE], [1]).conditional_mean(0, [-5, 0, 99]), 1)


@mixtures
@pytest.mark.parametrize("hidden", [0, 1])
def test_conditional_log_density_is_joint_minus_marginal_and_integrates_to_one(mixture: Mixture, hidden: int) -> None:
    axis, seen = np.linspace(-30, 30, 6001), 1 - hidden
    marginal = Mixture(mixture.means[:, [seen]], mixture.covariances[:, [seen]][:, :, [seen]], mixture.weights)
    expected = mixture.log_density(points) - marginal.log_density(points[:, [seen]])
    assert_allclose(mixture.conditional_log_density(hidden, points), expected, rtol=1e-7, atol=1e-9)
    for value in (-1.0, 4.5):
        line = np.stack((axis, np.full_like(axis, value))[:: 1 - 2 * hidden], -1)
        assert np.trapezoid(np.exp(mixture.conditional_log_density(hidden, line)), axis) == approx(1, abs=1e-8)


@mixtures
@pytest.mark.parametrize("coordinate", [0, 1])
def test_marginal_log_density_matches_integration_and_scipys_normals(mixture: Mixture, coordinate: int) -> None:
    values, axis = np.linspace(-9, 13, 23), np.linspace(-40, 40, 8001)
    pairs = np.stack(np.broadcast_arrays(values[:, None], axis)[:: 1 - 2 * coordinate], -1)
    integral = np.trapezoid(np.exp(mixture.log_density(pairs)), axis)
    deviations = np.sqrt(mixture.covariances[:, coordinate, coordinate])
    normals = norm.pdf(values[:, None], mixture.means[:, coordinate], deviations) @ mixture.weights
    found = mixture.marginal_log_density(coordinate, values)
    assert_allclose(np.exp(found), integral, rtol=1e-6, atol=1e-12)
    assert_allclose(np.exp(found), normals, rtol=1e-9)
    assert np.isfinite(mixture.marginal_log_density(coordinate, [1e6, -1e8])).all()


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.3), (0.5, 1.0), (2.0, 0.2)])
def test_joint_density_of_two_views_is_the_integral_over_the_clean_point(first: float, second: float) -> None:
    mixture = random_mixture(2)
    nodes, area = lattice(-12, 12, 481)
    prior = np.exp(mixture.log_density(nodes)) * area
    rng = np.random.default_rng(8)
    x = mixture.sample(5, rng)[0]
    a, b = x + first * rng.standard_normal((5, 2)), x + second * rng.standard_normal((5, 2))
    likelihoods = [norm.pdf(v[:, None], nodes, s).prod(-1) for v, s in ((a, first), (b, second))]
    joint = mixture.views(first, second).log_density(np.concatenate((a, b), -1))
    assert_allclose(np.exp(joint), (likelihoods[0] * likelihoods[1]) @ prior, rtol=1e-6)


@mixtures
def test_marginal_density_of_each_view_is_the_smoothed_density(mixture: Mixture) -> None:
    joint = mixture.views(0.3, 0.7)
    for part, sigma in ((slice(2), 0.3), (slice(2, 4), 0.7)):
        marginal = Mixture(joint.means[:, part], joint.covariances[:, part, part], joint.weights)
        assert_allclose(marginal.log_density(points), mixture.smoothed(sigma).log_density(points), rtol=1e-12)


@pytest.mark.parametrize(("first", "second"), [(0, 0.3), (0.3, 0.5)])
def test_pointwise_mutual_information_matches_scipys_joint_and_marginals(first: float, second: float) -> None:
    m, eye = REFERENCE, np.eye(2)
    x, other = points[:100], points[100:]
    first_marginal, second_marginal, joint = (np.zeros(100) for _ in range(3))
    for weight, mean, c in zip(m.weights, m.means, m.covariances, strict=True):
        a, b = c + first**2 * eye, c + second**2 * eye
        whole = multivariate_normal(np.tile(mean, 2), np.block([[a, c], [c, b]]))
        joint += weight * whole.pdf(np.concatenate((x, x + 0.1 * other), -1))
        first_marginal += weight * multivariate_normal(mean, a).pdf(x)
        second_marginal += weight * multivariate_normal(mean, b).pdf(x + 0.1 * other)
    kept = joint > 1e-250
    found = m.pointwise_mutual_information(x, x + 0.1 * other, first, second)
    assert kept.sum() > 50
    assert_allclose(found[kept], np.log(joint / first_marginal / second_marginal)[kept], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("noise", "information"), [(0.1, 5.250), (0.3, 3.202), (0.5, 2.408), (1, 1.634)])
def test_mutual_information_of_a_clean_and_a_noisy_view_has_its_reference_value(noise: float, information: float) -> None:
    rng = np.random.default_rng(9)
    x, _ = REFERENCE.sample(40_000, rng)
    found = REFERENCE.pointwise_mutual_information(x, x + noise * rng.standard_normal(x.shape), 0, noise)
    assert found.mean() == approx(information, abs=3 * found.std() / len(x) ** 0.5)


def test_mutual_information_is_symmetric_covers_all_pairs_and_vanishes_under_large_noise() -> None:
    x, other = points[:7], points[7:12]
    pairs = REFERENCE.pointwise_mutual_information(x[:, None], other, 0.3, 0.5)
    assert pairs.shape == (7, 5)
    assert_allclose(REFERENCE.pointwise_mutual_information(other, x[:, None], 0.5, 0.3), pairs)
    assert_allclose(REFERENCE.pointwise_mutual_information(points, 1e6 * points[::-1], 0.3, 1e6), 0, atol=1e-3)


@mixtures
def test_samples_have_the_weights_means_and_covariances_of_the_components(mixture: Mixture) -> None:
    x, component = mixture.sample(60_000, np.random.default_rng(2))
    assert_allclose(np.bincount(component) / len(x), mixture.weights, atol=0.01)
    for k in range(len(mixture.weights)):
        inside = x[component == k]
        tolerance = 5 * np.abs(mixture.covariances[k]).max() / np.sqrt(len(inside))
        assert_allclose(inside.mean(0), mixture.means[k], atol=2 * tolerance)
        assert_allclose(np.cov(inside.T), mixture.covariances[k], atol=2 * tolerance)


def test_equal_generators_give_equal_samples() -> None:
    first, second = (REFERENCE.sample(10, np.random.default_rng(3)) for _ in range(2))
    assert (first[0] == second[0]).all() and (first[1] == second[1]).all()


@mixtures
def test_all_quantities_are_finite_far_from_the_modes(mixture: Mixture) -> None:
    far = np.array([[1e8, 0], [-1e5, 1e7], [300, -300]])
    assert np.isfinite(mixture.log_density(far)).all()
    assert np.isfinite(mixture.score(far)).all()
    assert_allclose(mixture.responsibilities(far).sum(-1), 1, rtol=1e-12)
    weights, means, variances = mixture.conditional(0, far[:, 0])
    assert_allclose(weights.sum(-1), 1, rtol=1e-12)
    assert np.isfinite(means).all() and np.isfinite(variances).all()


def test_points_may_have_any_leading_dimensions() -> None:
    cube = points.reshape(5, 8, 5, 2)
    assert_allclose(REFERENCE.score(cube).reshape(-1, 2), REFERENCE.score(points), rtol=1e-12)
    assert REFERENCE.log_density(cube[0, 0, 0]) == approx(REFERENCE.log_density(points)[0])


def test_bayes_accuracy_of_two_equal_modes_is_the_normal_cdf() -> None:
    pair = Mixture([[0, 0], [2, 0]], [EYE, EYE], [0.5, 0.5])
    assert pair.bayes_accuracy(*pair.sample(50_000, np.random.default_rng(4))) == approx(norm.cdf(1), abs=0.008)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_bayes_accuracy_is_the_integral_of_the_largest_component(seed: int) -> None:
    mixture = random_mixture(seed)
    nodes, area = lattice(-20, 20, 201)
    exact = np.exp(mixture.component_log_density(nodes)).max(-1).sum() * area
    assert mixture.bayes_accuracy(*mixture.sample(50_000, np.random.default_rng(seed))) == approx(exact, abs=0.01)


def test_bayes_accuracy_of_coinciding_modes_is_the_largest_weight() -> None:
    coinciding = Mixture([[0, 0], [0, 0]], [EYE, EYE], [0.7, 0.3])
    assert coinciding.bayes_accuracy(*coinciding.sample(20_000, np.random.default_rng(5))) == approx(0.7, abs=0.015)


def test_a_covariance_that_is_not_positive_definite_raises_an_error() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        Mixture([[0, 0]], [[[1, 2], [2, 1]]], [1])


@pytest.mark.parametrize(
    ("sigma", "squared_norm", "error"), [(0.1, 4.170, 0.00137), (0.3, 3.349, 0.103), (0.5, 2.461, 0.72), (1, 1.132, 9.7)]
)
def test_score_norm_and_error_of_the_unsmoothed_score_have_their_reference_values(
    sigma: float, squared_norm: float, error: float
) -> None:
    nodes, area = lattice(-14, 18, 201)
    smooth = REFERENCE.smoothed(sigma)
    density, score = np.exp(smooth.log_density(nodes)) * area, smooth.score(nodes)
    assert density @ (score**2).sum(-1) == approx(squared_norm, rel=0.005)
    assert density @ ((REFERENCE.score(nodes) - score) ** 2).sum(-1) / squared_norm == approx(error, rel=0.02)


@pytest.mark.parametrize(("hidden", "r2", "nll", "one_gaussian"), [(1, 0.911, 1.065, 1.17), (0, 0.072, 1.456, 2.75)])
def test_best_prediction_of_a_coordinate_has_its_reference_values(
    hidden: int, r2: float, nll: float, one_gaussian: float
) -> None:
    x, _ = REFERENCE.sample(100_000, np.random.default_rng(6))
    target, seen = x[:, hidden], x[:, 1 - hidden]
    residual = target - REFERENCE.conditional_mean(hidden, seen)
    weights, means, variances = REFERENCE.conditional(hidden, seen)
    density = (weights * norm.pdf(target[:, None], means, np.sqrt(variances))).sum(-1)
    assert 1 - residual.var() / target.var() == approx(r2, abs=0.005)
    assert -np.log(density).mean() == approx(nll, abs=0.01)
    assert -norm.logpdf(residual, scale=residual.std()).mean() == approx(one_gaussian, abs=0.01)


def test_grid_and_uniform_points_cover_the_box() -> None:
    (left, right), (bottom, top) = DESCRIBED.box.x, DESCRIBED.box.y
    x, y = setup.grid_axes(DESCRIBED, MOG.evaluation.grid)
    assert (x[0], x[-1], y[0], y[-1]) == (left, right, bottom, top) and len(x) == len(y) == MOG.evaluation.grid
    uniform = setup.uniform_in_box(DESCRIBED, 20_000, np.random.default_rng(7))
    assert_allclose(uniform.mean(0), [(left + right) / 2, (bottom + top) / 2], atol=0.2)
    assert_allclose(uniform.std(0), [(right - left) / 12**0.5, (top - bottom) / 12**0.5], atol=0.2)
    assert (uniform >= [left, bottom]).all() and (uniform <= [right, top]).all()


def test_most_ambiguous_coordinate_is_the_one_that_two_modes_share() -> None:
    pair = Mixture(np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 8.0]]), np.stack([np.eye(2)] * 3), np.full(3, 1 / 3))
    assert pair.most_ambiguous(1, np.linspace(-4, 12, 161)) == pytest.approx(0, abs=0.11)
