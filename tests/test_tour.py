"""The reference path: closed, of constant speed, through every mode."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pytest import approx

from stages.mog.problem.gaussian_mixture import Mixture
from stages.mog.problem.reference_path import reference_path


def ring(angles: list[float], weights: list[float] | None = None) -> Mixture:
    """A mixture of round modes at the given angles on a circle of radius 3 about (1, −2)."""
    means = 3 * np.stack((np.cos(angles), np.sin(angles)), -1) + [1, -2]
    return Mixture(means, np.tile(np.eye(2), (len(means), 1, 1)), weights or np.full(len(means), 1 / len(means)))


SQUARE = ring([0, np.pi, np.pi / 2, -np.pi / 2])


@pytest.mark.parametrize("count", [2, 7, 30])
@pytest.mark.parametrize("mixture", [ring([0]), ring([0, 2]), SQUARE], ids=["one mode", "two modes", "four modes"])
def test_path_has_the_requested_number_of_points_without_consecutive_repeats(mixture: Mixture, count: int) -> None:
    path = reference_path(mixture, count)
    assert path.shape == (count, 2) and np.isfinite(path).all()
    assert np.linalg.norm(np.diff(path, axis=0, append=path[:1]), axis=-1).min() > 0


def test_path_visits_every_mode() -> None:
    distance = np.linalg.norm(reference_path(SQUARE, 40)[:, None] - SQUARE.means, axis=-1)
    assert_allclose(distance.min(0), 0, atol=1e-9)


def test_path_turns_in_one_direction_around_the_mean() -> None:
    offset = reference_path(SQUARE, 40) - [1, -2]
    turns = np.diff(np.unwrap(np.arctan2(offset[:, 1], offset[:, 0])))
    assert (turns > 0).all()


def test_path_is_closed_and_has_constant_speed() -> None:
    path = reference_path(SQUARE, 40)
    steps = np.linalg.norm(np.diff(path, axis=0, append=path[:1]), axis=-1)
    assert_allclose(steps, 4 * 3 * 2**0.5 / 40)


def test_path_of_two_modes_goes_there_and_back_on_one_line() -> None:
    assert_allclose(reference_path(ring([0, np.pi]), 4), [[4, -2], [1, -2], [-2, -2], [1, -2]], atol=1e-9)


def test_path_of_one_mode_is_its_one_sigma_ellipse() -> None:
    single = Mixture([[5, -3]], [[[1, 0.8], [0.8, 2]]], [1])
    offset = reference_path(single, 12) - single.means
    assert_allclose(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(single.covariances[0]), offset), 1)


def test_path_does_not_depend_on_the_order_of_the_modes() -> None:
    shuffled = Mixture(SQUARE.means[::-1], SQUARE.covariances, SQUARE.weights)
    assert_allclose(reference_path(shuffled, 20), reference_path(SQUARE, 20))


def test_path_is_finite_for_a_mode_at_the_mean_and_for_coinciding_modes() -> None:
    with_central_mode = Mixture(np.vstack((SQUARE.means, [1, -2])), np.tile(np.eye(2), (5, 1, 1)), np.full(5, 0.2))
    coinciding = Mixture([[1, 1], [1, 1]], [np.eye(2)] * 2, [0.5, 0.5])
    assert np.isfinite(reference_path(with_central_mode, 9)).all()
    assert reference_path(coinciding, 5) == approx(np.ones((5, 2)))
