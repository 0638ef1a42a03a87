"""The form in which a measured figure is reported."""

from __future__ import annotations

from typing import Any

import numpy as np


def figure(values: Any) -> dict[str, Any]:
    """A figure over seeds: mean, standard deviation (population) and the values, each to six significant digits."""
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return {"mean": rounded(array.mean()), "std": rounded(array.std()), "values": [rounded(value) for value in array]}


def rounded(value: float) -> float:
    """Six significant digits: more than any figure here is known to."""
    return float(f"{value:.6g}")
