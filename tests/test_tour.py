"""The walk of the reference point: closed, even, through every mode."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pytest import approx

from stages.mog.problem.gaussian_mixture import Mixture
from stages.mog.problem.reference_path import reference_path


def ring(angles: list[float], weights: list[float] | None = None) -> Mixture:
    means = 3 * np.stack((np.cos(angles), np.sin(angles)), -1) + [1, -2]
    return Mixture(means, np.tile(np.eye(2), (len(means), 1, 1)), weights or np.full(len(means), 1 / len(means)))


SQUARE = ring([0, np.pi, np.pi / 2, -np.pi / 2])


@pytest.mark.parametrize("count", [2, 7, 30])
@pytest.mark.parametrize("mixture", [ring([0]), ring([0, 2]), SQUARE], ids=["one mode", "two modes", "four modes"])
def test_it_has_as_many_points_as_asked_for_and_no_point_twice_in_a_row(mixture: Mixture, count: int) -> None:
    walk = reference_path(mixture, count)
    assert walk.shape == (count, 2) and np.isfinite(walk).all()
    assert np.linalg.norm(np.diff(walk, axis=0, append=walk[:1]), axis=-1).min() > 0


def test_it_visits_every_mode() -> None:
    distance = np.linalg.norm(reference_path(SQUARE, 40)[:, None] - SQUARE.means, axis=-1)
    assert_allclose(distance.min(0), 0, atol=1e-9)


def test_it_goes_round_and_not_to_and_fro() -> None:
    offset = reference_path(SQUARE, 40) - [1, -2]
    turn = np.diff(np.unwrap(np.arctan2(offset[:, 1], offset[:, 0])))
    assert (turn > 0).all()


def test_it_is_closed_and_its_speed_is_even() -> None:
    walk = reference_path(SQUARE, 40)
    steps = np.linalg.norm(np.diff(walk, axis=0, append=walk[:1]), axis=-1)
    assert_allclose(steps, 4 * 3 * 2**0.5 / 40)


def test_two_modes_are_walked_there_and_back() -> None:
    assert_allclose(reference_path(ring([0, np.pi]), 4), [[4, -2], [1, -2], [-2, -2], [1, -2]], atol=1e-9)


def test_one_mode_is_walked_round_at_one_standard_deviation() -> None:
    one = Mixture([[5, -3]], [[[1, 0.8], [0.8, 2]]], [1])
    offset = reference_path(one, 12) - one.means
    assert_allclose(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(one.covariances[0]), offset), 1)


def test_the_order_of_the_modes_in_the_params_does_not_matter() -> None:
    shuffled = Mixture(SQUARE.means[::-1], SQUARE.covariances, SQUARE.weights)
    assert_allclose(reference_path(shuffled, 20), reference_path(SQUARE, 20))


def test_a_mode_at_the_centre_of_mass_and_coinciding_modes_are_no_trouble() -> None:
    cross = Mixture(np.vstack((SQUARE.means, [1, -2])), np.tile(np.eye(2), (5, 1, 1)), np.full(5, 0.2))
    same = Mixture([[1, 1], [1, 1]], [np.eye(2)] * 2, [0.5, 0.5])
    assert np.isfinite(reference_path(cross, 9)).all()
    assert reference_path(same, 5) == approx(np.ones((5, 2)))
