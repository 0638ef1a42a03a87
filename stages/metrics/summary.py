"""The form in which a metric is reported."""

from __future__ import annotations

from typing import Any

import numpy as np


def over_seeds(values: Any) -> dict[str, Any]:
    """A metric over seeds: mean, population standard deviation and values, each to six significant digits."""
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return {"mean": rounded(array.mean()), "std": rounded(array.std()), "values": [rounded(value) for value in array]}


def fraction(right: Any) -> dict[str, Any]:
    """The fraction p of N images that a single classifier gets right, as `over_seeds`, with its `standard_error` √(p(1 − p)/N).

    Args:
        right: whether the classifier is right about each image, (N,).
    """
    p = np.asarray(right, dtype=np.float64).mean()
    return over_seeds(p) | {"standard_error": rounded(np.sqrt(p * (1 - p) / len(right)))}


def rounded(value: float) -> float:
    """Six significant digits, more than the accuracy of any metric here."""
    return float(f"{value:.6g}")
