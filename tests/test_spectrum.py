"""The operator of the positive pairs: closed forms, resolution, traces, presets; and metrics of embeddings against it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermeval
from pytest import approx

from stages.metrics.spectrum import captured_trace, explained, span, spectral_excess
from stages.mog.problem import setup, spectrum
from stages.mog.problem.gaussian_mixture import Array, Mixture
from stages.mog.problem.spectrum import PairOperator, extended, pair_operator
from tests.plane import PRESETS, REFERENCE

EIGENVALUES = {
    0.3: "1 1 .9997 .9512 .9467 .9026 .8963 .8532 .8486 .8475 .8475 .8161 .8035 .8023 .7724 .7606",
    0.5: "1 1 .9988 .8740 .8646 .7578 .7478 .6667 .6666 .6508 .6468 .6123 .5594 .5507 .5309 .4837",
    1.0: "1 .9973 .9845 .6163 .6116 .3776 .3697 .3322 .3272 .2747 .2308 .2065 .1709 .1625 .1411 .1196",
}
"""The first eigenvalues of the reference mixture at three noise levels."""


def gaussian(x: float, y: float) -> Mixture:
    """A single mode at (1, −2) with these variances."""
    return Mixture([[1, -2]], [np.diag([x, y])], [1])


def operator(noise: float = 1.0) -> tuple[PairOperator, Array, Array]:
    found = pair_operator(REFERENCE, noise)
    return found, *found.eigenpairs(17)


@pytest.mark.parametrize("noise", EIGENVALUES)
def test_eigenvalues_of_the_reference_mixture(noise: float) -> None:
    _, values, _ = operator(noise)
    expected = [float(value) for value in EIGENVALUES[noise].split()]
    assert values[:16] == approx(expected, abs=1e-4)


@pytest.mark.parametrize("noise", EIGENVALUES)
def test_eigenvalues_do_not_depend_on_the_grid(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    _, values, _ = operator(noise)
    monkeypatch.setattr(spectrum, "SPACING", (0.6, 0.4))
    _, finer, _ = operator(noise)
    assert values == approx(finer, abs=1e-5)


@pytest.mark.parametrize(("x", "y", "noise"), [(1.0, 0.3, 0.5), (2.0, 2.5, 1.0), (0.5, 0.1, 0.3)])
def test_eigenvalues_of_one_gaussian_are_products_of_powers(x: float, y: float, noise: float) -> None:
    ratios = x / (x + noise**2), y / (y + noise**2)
    expected = sorted((ratios[0] ** i * ratios[1] ** j for i in range(20) for j in range(20)), reverse=True)
    values, _ = pair_operator(gaussian(x, y), noise).eigenpairs(12)
    assert values == approx(expected[:12], abs=1e-5)


def test_eigenfunctions_of_one_gaussian_are_hermite_polynomials() -> None:
    mixture, noise = gaussian(2.0, 0.5), 1.0
    found = pair_operator(mixture, noise)
    values, functions = found.eigenpairs(4)
    white = (found.nodes - mixture.means[0]) / np.sqrt(mixture.covariances[0].diagonal() + noise**2)
    # 2/3, 4/9 and 1/3: first and second order along x, first order along y.
    expected = [white[:, 0], hermeval(white[:, 0], [0, 0, 1]) / np.sqrt(2), white[:, 1]]
    assert values[1:] == approx([2 / 3, 4 / 9, 1 / 3], abs=1e-9)
    for function, polynomial in zip(functions[1:], expected, strict=True):
        assert abs(function * polynomial) @ found.measure == approx(1, abs=1e-8)
        assert abs((function * polynomial) @ found.measure) == approx(1, abs=1e-8)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_operator_has_its_traces(preset: str, noise: float) -> None:
    """E[a·b] = E[a·T a] for the coordinates, the trace ∫ p(a | a) da, and T 1 = 1."""
    mixture = setup.mixture(PRESETS[preset])
    found = pair_operator(mixture, noise)
    root = np.sqrt(found.measure)
    assert found.measure.sum() == approx(1, abs=1e-9)
    assert found.matrix @ root == approx(root, abs=1e-6)
    assert abs(found.matrix - found.matrix.T).max() < 1e-12
    second = (mixture.weights * (mixture.covariances.trace(axis1=1, axis2=2) + (mixture.means**2).sum(-1))).sum()
    weighted = root[:, None] * found.nodes
    assert (weighted * (found.matrix @ weighted)).sum() == approx(second, rel=1e-8)
    values = np.linalg.eigvalsh(found.matrix.toarray())
    assert values.min() > -1e-9 and values.max() == approx(1, abs=1e-9)
    joint, marginal = mixture.views(noise, noise), mixture.smoothed(noise)
    diagonal = np.exp(joint.log_density(np.tile(found.nodes, 2)) - 2 * marginal.log_density(found.nodes))
    assert values.sum() == approx(found.measure @ diagonal, rel=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_eigenfunctions_are_orthonormal_and_satisfy_their_equation(preset: str) -> None:
    found = pair_operator(setup.mixture(PRESETS[preset]), 0.5)
    values, functions = found.eigenpairs(17)
    assert (functions * found.measure) @ functions.T == approx(np.eye(17), abs=1e-7)
    weighted = functions * np.sqrt(found.measure)
    assert approx(values[:, None] * weighted, abs=1e-8) == (found.matrix @ weighted.T).T
    assert (np.diff(values) <= 1e-12).all()


def test_first_eigenfunctions_of_separated_modes_are_constant_within_them() -> None:
    found, _, functions = operator(0.3)
    mode = REFERENCE.responsibilities(found.nodes).argmax(-1)
    for function in functions[1:3]:
        within = [function[mode == k] for k in range(3)]
        weights = [found.measure[mode == k] / found.measure[mode == k].sum() for k in range(3)]
        variance = sum(
            share.sum() * (share @ (value - share @ value) ** 2) / 3 for share, value in zip(weights, within, strict=True)
        )
        assert variance < 0.01


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_extension_to_another_grid_is_orthonormal(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found, values, functions = operator(noise)
    monkeypatch.setattr(spectrum, "SPACING", (0.7, 0.5))
    other = pair_operator(REFERENCE, noise)
    there = extended(REFERENCE, noise, found, values, functions, other.nodes)
    assert (there * other.measure) @ there.T == approx(np.eye(17), abs=1e-3)


def test_views_that_hardly_differ_have_no_spectrum() -> None:
    found = pair_operator(REFERENCE, 0.01)
    assert found.nodes.shape == (0, 2) and len(spectrum.leading(found)[0]) == 0


def test_operator_needs_the_plane() -> None:
    with pytest.raises(ValueError, match="plane"):
        pair_operator(Mixture([[0, 0, 0]], [np.eye(3)], [1]), 1.0)


def test_number_of_eigenpairs_is_checked() -> None:
    found = pair_operator(REFERENCE, 1.0)
    for count in (1, len(found.nodes)):
        with pytest.raises(ValueError, match="eigenpairs"):
            found.eigenpairs(count)


def truth(noise: float = 1.0, dim: int = 8) -> tuple[PairOperator, Array, Array, Array]:
    """The operator, its eigenpairs, and the optimal embedding (N, dim) rotated at random."""
    found, values, functions = operator(noise)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))
    return found, values, functions, (functions[:dim] * np.sqrt(values[:dim, None])).T @ rotation


def test_optimal_embedding_explains_its_eigenfunctions_and_no_other() -> None:
    found, values, functions, z = truth()
    basis = span(z, found.measure)
    assert basis.shape[1] == 8
    assert explained(basis, functions[1:], found.measure) == approx([1] * 7 + [0] * 9, abs=1e-6)
    assert captured_trace(basis, found.matrix, 8) == approx(values[:8].sum(), abs=1e-6)


def test_optimal_embedding_has_no_excess_loss_and_any_other_has() -> None:
    found, values, functions, z = truth()
    assert spectral_excess(z, found.measure, found.matrix, values[:8]) == approx(0, abs=1e-9)
    others = [
        0 * z,
        1.1 * z,
        z @ np.diag([1] * 7 + [0]),
        z + 0.1 * functions[9:17].T,
        (functions[1:9] * values[1:9, None] ** 0.5).T,
    ]
    for other in others:
        assert spectral_excess(other, found.measure, found.matrix, values[:8]) > 1e-3
    lost = spectral_excess((functions[:7] * np.sqrt(values[:7, None])).T, found.measure, found.matrix, values[:8])
    assert lost == approx(values[7] ** 2, abs=1e-9)


def test_affine_maps_do_not_change_what_an_embedding_explains() -> None:
    found, _, functions, z = truth()
    generator = np.random.default_rng(1)
    mapped = 1e-3 * z @ generator.standard_normal((8, 8)) + generator.standard_normal(8)
    before, after = (explained(span(each, found.measure), functions[1:], found.measure) for each in (z, mapped))
    assert after == approx(before, abs=1e-6)


def test_constant_embedding_explains_nothing() -> None:
    found, _, functions, z = truth()
    basis = span(np.ones_like(z), found.measure)
    assert basis.shape[1] == 1
    assert explained(basis, functions[1:], found.measure) == approx(0, abs=1e-12)
    assert captured_trace(basis, found.matrix, 8) == approx(1, abs=1e-9)


def test_plane_itself_explains_less_than_the_eigenfunctions_of_the_modes() -> None:
    found, _, functions = operator()
    r2 = explained(span(found.nodes, found.measure), functions[1:], found.measure)
    assert ((r2 >= 0) & (r2 <= 1 + 1e-9)).all() and 0.5 < r2[:2].mean() < 1


@pytest.mark.parametrize("seed", range(5))
def test_no_subspace_captures_more_than_the_eigenvalues(seed: int) -> None:
    found, values, _ = operator()
    generator = np.random.default_rng(seed)
    z = np.tanh(found.nodes @ generator.standard_normal((2, 6)) + generator.standard_normal(6))
    assert 1 < captured_trace(span(z, found.measure), found.matrix, 6) < values[:6].sum()
