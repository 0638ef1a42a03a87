"""Ranks and their correlation.

scipy.stats has both, but its import takes longer than many evaluations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ranks(x: NDArray[Any]) -> Array:
    """The ranks, from 1, of values (N,); ties get their mean rank. Equals `scipy.stats.rankdata`."""
    order = np.argsort(x)
    ordered = x[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(first, append=len(x))
    found = np.empty(len(x))
    found[order] = np.repeat(first + 1 + (counts - 1) / 2, counts)
    return found


def spearman(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Spearman's rank correlation of values (N,) and (N,); 0 if either is constant, where it is undefined.

    Spearman 1904, "The proof and measurement of association between two things".
    """
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.asarray(np.corrcoef(np.column_stack((ranks(a), ranks(b))), rowvar=False))[1, 0])
