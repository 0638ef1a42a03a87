"""Do two classifiers differ, or is it chance? Judged on the same images, only those count that one alone gets right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Right = NDArray[np.bool_]


def mcnemar(first: Right, second: Right) -> dict[str, Any]:
    """McNemar's exact test of two classifiers that are right where `first` and `second` (N,) say so.

    Of the images that exactly one of them gets right, each has half a chance to be the first one's if they are equally good:

        p = P( |K − n/2| ≥ |only_first − n/2| ),   K ~ Binomial(n, ½),   n = only_first + only_second

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages".

    Returns:
        `only_first`, `only_second`, how many images one alone gets right; `difference` of the accuracies; `p`, 1 where n = 0.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = binomtest(only_first, discordant).pvalue if discordant else 1.0
    difference = (only_first - only_second) / len(first)
    return {"only_first": only_first, "only_second": only_second, "difference": difference, "p": float(f"{p:.3g}")}


def holm(p: Sequence[float]) -> list[float]:
    """p-values of several tests, each raised so that a false alarm in ANY of them stays as unlikely as it says.

        p̃_(k) = max_{j ≤ k} min(1, (m − j + 1) p_(j))   for the m values in rising order

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p, kind="stable")
    raised = np.minimum(1, (len(p) - np.arange(len(p))) * np.asarray(p)[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(raised)
    return [float(value) for value in adjusted]


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard error of the difference of two figures (N,) that were taken on the same N occasions."""
    each = np.asarray(first) - np.asarray(second)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))
