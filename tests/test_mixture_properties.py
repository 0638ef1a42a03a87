"""Properties of all mixtures of Gaussians, of any size, dimension, scale and condition number."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from stages.mog.problem.gaussian_mixture import Mixture

Array = NDArray[np.float64]


@st.composite
def mixtures(draw: st.DrawFn, dimensions: st.SearchStrategy[int] = st.integers(1, 4)) -> Mixture:  # noqa: B008
    """Mixtures of one to six components at scales from .01 to 100; condition numbers of covariances are at most 1e6."""
    d, k, seed = draw(dimensions), draw(st.integers(1, 6)), draw(st.integers(0, 2**32 - 1))
    scale, spread = 10.0 ** draw(st.integers(-2, 2)), draw(st.floats(0, 3))
    rng = np.random.default_rng(seed)
    rotations = np.linalg.qr(rng.standard_normal((k, d, d)))[0]
    lengths = scale * 10 ** rng.uniform(-spread / 2, spread / 2, (k, d))
    covariances = np.einsum("kij,kj,klj->kil", rotations, lengths**2, rotations)
    weights = rng.dirichlet(np.ones(k)) * 0.99 + 0.01 / k
    return Mixture(
        rng.uniform(-5, 5, (k, d)) * scale, (covariances + covariances.transpose(0, 2, 1)) / 2, weights / weights.sum()
    )


def points(mixture: Mixture, count: int = 20) -> Array:
    """Samples of the mixture, (count, d)."""
    return mixture.sample(count, np.random.default_rng(0))[0]


@given(mixtures())
def test_score_is_the_gradient_of_the_log_density(mixture: Mixture) -> None:
    x = points(mixture)
    smallest_std = np.sqrt(np.linalg.eigvalsh(mixture.covariances).min())
    step = 1e-4 * smallest_std
    for i, direction in enumerate(np.eye(x.shape[1])):
        difference = mixture.log_density(x + step * direction) - mixture.log_density(x - step * direction)
        # In units of the smallest standard deviation, the score is of order one.
        assert_allclose(mixture.score(x)[:, i] * smallest_std, difference / (2 * step) * smallest_std, atol=1e-4, rtol=1e-4)


@given(mixtures(), st.floats(0.01, 10), st.floats(0.01, 10))
def test_smoothing_twice_equals_smoothing_once_with_the_summed_variance(mixture: Mixture, first: float, second: float) -> None:
    x = points(mixture)
    twice, once = mixture.smoothed(first).smoothed(second), mixture.smoothed(np.hypot(first, second))
    assert_allclose(twice.log_density(x), once.log_density(x), rtol=1e-9, atol=1e-9)


@given(mixtures())
def test_responsibilities_are_probabilities_even_far_from_the_modes(mixture: Mixture) -> None:
    for x in (points(mixture), points(mixture) * 1e3, points(mixture) * 1e6):
        found = mixture.responsibilities(x)
        assert np.isfinite(found).all() and (found >= 0).all()
        assert_allclose(found.sum(-1), 1, rtol=1e-12)
        assert np.isfinite(mixture.log_density(x)).all() and np.isfinite(mixture.score(x)).all()


@given(mixtures(), st.integers(0, 99))
def test_log_density_is_invariant_to_component_order_and_translation(mixture: Mixture, seed: int) -> None:
    x, rng = points(mixture), np.random.default_rng(seed)
    order, shift = rng.permutation(len(mixture.weights)), rng.uniform(-1, 1, mixture.means.shape[1])
    other = Mixture(mixture.means[order] + shift, mixture.covariances[order], mixture.weights[order])
    assert_allclose(other.log_density(x + shift), mixture.log_density(x), rtol=1e-6, atol=1e-6)


@given(mixtures(st.just(1)))
def test_density_integrates_to_one(mixture: Mixture) -> None:
    deviations = np.sqrt(mixture.covariances[:, 0, 0])
    # The union of a fine grid around each component resolves them all.
    nodes = np.unique(
        np.concatenate([m + s * np.linspace(-9, 9, 2001) for m, s in zip(mixture.means[:, 0], deviations, strict=True)])
    )
    assert_allclose(np.trapezoid(np.exp(mixture.log_density(nodes[:, None])), nodes), 1, atol=2e-4)


@given(mixtures(st.just(2)), st.sampled_from([0, 1]))
def test_joint_density_is_the_conditional_times_the_marginal(mixture: Mixture, hidden: int) -> None:
    x, seen = points(mixture), 1 - hidden
    marginal = Mixture(mixture.means[:, [seen]], mixture.covariances[:, [[seen]], [[seen]]], mixture.weights)
    product = mixture.conditional_log_density(hidden, x) + marginal.log_density(x[:, [seen]])
    assert_allclose(product, mixture.log_density(x), rtol=1e-6, atol=1e-6)
    assert_allclose(mixture.marginal_log_density(seen, x[:, seen]), marginal.log_density(x[:, [seen]]), rtol=1e-9, atol=1e-9)
    _, means, variances = mixture.conditional(hidden, x[:, seen])
    assert (variances > 0).all()
    mean = mixture.conditional_mean(hidden, x[:, seen])
    slack = 1e-9 * (1 + abs(means).max())
    assert (mean >= means.min(-1) - slack).all() and (mean <= means.max(-1) + slack).all()


@given(mixtures(st.just(2)), st.floats(0.05, 3), st.floats(0.05, 3))
def test_mutual_information_is_invariant_to_swapping_the_views(mixture: Mixture, first: float, second: float) -> None:
    x, other = points(mixture), points(mixture)[::-1]
    found = mixture.pointwise_mutual_information(x, other, first, second)
    assert_allclose(found, mixture.pointwise_mutual_information(other, x, second, first), rtol=1e-6, atol=1e-6)
    assert np.isfinite(found).all()


@given(mixtures(), st.integers(1, 50), st.integers(0, 99))
def test_samples_are_finite_and_have_valid_components(mixture: Mixture, count: int, seed: int) -> None:
    x, component = mixture.sample(count, np.random.default_rng(seed))
    assert x.shape == (count, mixture.means.shape[1]) and np.isfinite(x).all()
    assert component.shape == (count,) and (component >= 0).all() and (component < len(mixture.weights)).all()
    assert 0 <= mixture.bayes_accuracy(x, component) <= 1
