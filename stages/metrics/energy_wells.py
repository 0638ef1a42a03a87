"""Does an energy landscape have a well where the data is?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def well_auc(data: Array, empty: Array) -> float:
    """P(E(x) < E(u)) + ½ P(E(x) = E(u)) for x from the data and u from empty space, from their energies (N,) and (M,).

    The area under the ROC curve of the energy as a detector of data: 1 where every data point lies lower than all empty space,
    ½ for a flat landscape. It does not depend on the energy's scale. It is the statistic of Mann and Whitney over N M.
    """
    ordered = np.sort(empty)
    at_most, below = (np.searchsorted(ordered, data, side=side).mean() for side in ("right", "left"))
    return float(1 - (at_most + below) / 2 / len(empty))
