"""Paired tests of classifiers, McNemar's and Holm's: compared with closed forms, simulation and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, ttest_rel

from stages.metrics.paired import holm, mcnemar, paired_t, verdict


def classifiers(only_first: int, only_second: int, both: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Whether two classifiers are correct on each image, for given numbers of images on which one or both are."""
    first = np.array([True] * only_first + [False] * only_second + [True] * both)
    second = np.array([False] * only_first + [True] * only_second + [True] * both)
    return first, second


def test_mcnemar_finds_no_difference_between_equal_classifiers() -> None:
    assert mcnemar(*classifiers(0, 0)) == {"only_first": 0, "only_second": 0, "difference": 0.0, "p": 1.0}


@pytest.mark.parametrize("first, second", [(10, 2), (2, 10), (7, 7), (1, 0), (40, 20)])
def test_mcnemar_p_is_twice_the_smaller_binomial_tail(first: int, second: int) -> None:
    found = mcnemar(*classifiers(first, second))
    assert (found["only_first"], found["only_second"]) == (first, second)
    assert found["p"] == pytest.approx(min(1, 2 * binom.cdf(min(first, second), first + second, 0.5)), rel=5e-3)
    assert found["difference"] == pytest.approx((first - second) / (first + second + 50))


def test_mcnemar_ignores_images_that_both_classify_correctly() -> None:
    assert mcnemar(*classifiers(9, 3, both=5))["p"] == mcnemar(*classifiers(9, 3, both=5000))["p"]


def test_mcnemar_false_positive_rate_does_not_exceed_the_level() -> None:
    rng = np.random.default_rng(0)
    p = [mcnemar(rng.random(400) < 0.8, rng.random(400) < 0.8)["p"] for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) < 0.09


def test_holm_p_values_equal_hand_computed_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []


def test_holm_controls_the_family_wise_error_rate() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([min(holm(list(rng.random(15)))) < 0.05 for _ in range(2000)]) == pytest.approx(0.05, abs=0.015)


def test_paired_t_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 30))
    found, expected = paired_t(first + 0.3, second), ttest_rel(first + 0.3, second)
    assert found["difference"] / found["standard_error"] == pytest.approx(expected.statistic)
    assert found["p"] == pytest.approx(expected.pvalue, rel=5e-3)


@pytest.mark.parametrize("shift, p", [(0.0, 1.0), (0.25, 0.0)])
def test_paired_t_of_constant_differences(shift: float, p: float) -> None:
    values = np.array([0.25, 0.5, 0.75])
    assert paired_t(values + shift, values) == {"difference": shift, "standard_error": 0.0, "p": p}


@pytest.mark.parametrize(
    "difference, p, expected",
    [(0.1, 0.04, "better"), (-0.1, 0.04, "worse"), (0.1, 0.05, "no difference"), (-0.1, 1.0, "no difference")],
)
def test_verdict_needs_significance(difference: float, p: float, expected: str) -> None:
    assert verdict(difference, p) == expected
