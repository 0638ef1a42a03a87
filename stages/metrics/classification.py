"""How accurate is a classifier?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

Labels = NDArray[np.int64]


def report(true: Labels, predicted: Labels) -> dict[str, Any]:
    """Accuracy, and precision, recall and F1 averaged over the classes, with equal weights (macro) and by frequency (weighted).

    Weighted recall equals accuracy.
    """
    metrics = {"accuracy": float(accuracy_score(true, predicted))}
    for average in ("macro", "weighted"):
        values = precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
        metrics |= {f"{name}_{average}": float(v) for name, v in zip(("precision", "recall", "f1"), values[:3], strict=True)}
    return metrics
