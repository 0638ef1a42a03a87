"""Do two embeddings, evaluated on the same images, differ significantly?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr
from scipy.stats import binomtest

Correct = NDArray[np.bool_]
"""Whether a classifier is correct on each image, (N,)."""
Values = NDArray[np.float64]
"""A value of each query, or of each draw of labelled images, (N,)."""
LEVEL = 0.05
"""The level of significance of a verdict."""
NO_DIFFERENCE = "no difference"
"""The verdict on a difference that is not significant."""


def mcnemar(first: Correct, second: Correct) -> dict[str, Any]:
    """McNemar's exact test of two classifiers.

    Only images on which exactly one classifier is correct count. If both are equally accurate, it is the first one with
    probability ½:

        p = P( |K − n/2| ≥ |only_first − n/2| ),   K ~ Binomial(n, ½),   n = only_first + only_second

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages".

    Returns:
        `only_first` and `only_second`; `difference`, first minus second accuracy; `p`, 1 if n = 0.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    p = binomtest(only_first, discordant).pvalue if discordant else 1.0
    difference = (only_first - only_second) / len(first)
    return {"only_first": only_first, "only_second": only_second, "difference": difference, "p": float(f"{p:.3g}")}


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of m tests, which control the probability of one or more false positives.

        p̃_(k) = max_{j ≤ k} min(1, (m − j + 1) p_(j))   for the values in increasing order

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p, kind="stable")
    raised = np.minimum(1, (len(p) - np.arange(len(p))) * np.asarray(p)[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(raised)
    return [float(value) for value in adjusted]


def paired_t(first: Values, second: Values) -> dict[str, Any]:
    """The t-test of paired values, such as average precisions of the same queries.

    With the mean d̄ and the standard error s/√N of the differences, p = P(|T| ≥ |d̄| √N / s), T ~ Student's t with N − 1 degrees
    of freedom.

    Returns:
        `difference`, the mean of first minus second; its `standard_error`; `p`, 1 if all pairs are equal and 0 if all
        differ by the same amount.
    """
    each = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    mean, error = float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))
    p = 2 * float(stdtr(len(each) - 1, -abs(mean) / error)) if error else float(mean == 0)
    return {"difference": mean, "standard_error": error, "p": float(f"{p:.3g}")}


def verdict(difference: float, p: float) -> str:
    """`better` or `worse` if a difference of the first to the second is significant at `LEVEL`, otherwise `no difference`."""
    if p >= LEVEL:
        return NO_DIFFERENCE
    return "better" if difference > 0 else "worse"
