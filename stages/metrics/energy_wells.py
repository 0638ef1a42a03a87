"""Does an energy landscape have a well where the data is?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def well_auroc(data: Array, empty: Array) -> float:
    """The area under the ROC curve of the energy as a detector of data.

        P(E(x) < E(u)) + ½ P(E(x) = E(u))

    x is a point of the data and u a point of empty space. 1 if every data point lies lower than all empty space, ½ for a flat
    landscape; invariant to monotone maps of the energy. It is the Mann-Whitney statistic divided by N M.

    Args:
        data: energies of the data, (N,).
        empty: energies of empty space, (M,).
    """
    ordered = np.sort(empty)
    at_most, below = (np.searchsorted(ordered, data, side=side).mean() for side in ("right", "left"))
    return float(1 - (at_most + below) / 2 / len(empty))
