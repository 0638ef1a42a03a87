"""McNemar's test against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from stages.metrics.paired import mcnemar


def classifiers(only_first: int, only_second: int, both: int = 50) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([True] * only_first + [False] * only_second + [True] * both)
    second = np.array([False] * only_first + [True] * only_second + [True] * both)
    return first, second


def test_equal_classifiers_do_not_differ() -> None:
    assert mcnemar(*classifiers(0, 0)) == {"only_first": 0, "only_second": 0, "difference": 0.0, "p": 1.0}


@pytest.mark.parametrize("first, second", [(10, 2), (2, 10), (7, 7), (1, 0), (40, 20)])
def test_p_is_twice_the_smaller_tail(first: int, second: int) -> None:
    found = mcnemar(*classifiers(first, second))
    assert (found["only_first"], found["only_second"]) == (first, second)
    assert found["p"] == pytest.approx(min(1, 2 * binom.cdf(min(first, second), first + second, 0.5)), rel=5e-3)
    assert found["difference"] == pytest.approx((first - second) / (first + second + 50))


def test_what_both_get_right_does_not_count() -> None:
    assert mcnemar(*classifiers(9, 3, both=5))["p"] == mcnemar(*classifiers(9, 3, both=5000))["p"]


def test_under_the_null_p_is_below_a_bound_no_more_often_than_that() -> None:
    rng = np.random.default_rng(0)
    p = [mcnemar(rng.random(400) < 0.8, rng.random(400) < 0.8)["p"] for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) < 0.09
