"""The k-NN classifier compared with scikit-learn's brute force, on random L2-normalised embeddings in single precision.

Both sides start from the same arrays and end with a class for each query. Both are exact, so they agree except for ties.
"""

from __future__ import annotations

import time
from statistics import median

import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from benchmarks.report import Row, duration
from benchmarks.turns import speedup, take_turns
from stages.metrics.neighbours import knn_classify

CLASSES = 10
"""Classes of the random labels."""


def rows(*, points: int, dim: int, queries: int, neighbours: int, turns: int) -> list[Row]:
    """The row of the time for all queries; its note gives the fraction of equal predictions."""
    generator = torch.Generator().manual_seed(0)
    index = F.normalize(torch.randn(points, dim, generator=generator), dim=-1)
    query_points = F.normalize(torch.randn(queries, dim, generator=generator), dim=-1)
    labels = torch.randint(CLASSES, (points,), generator=generator)
    index_array, label_array, query_array = index.numpy(), labels.numpy(), query_points.numpy()
    predictions = {}

    def ours() -> float:
        started = time.perf_counter()
        predictions["ours"] = knn_classify(index, labels, query_points, neighbours)
        return time.perf_counter() - started

    def theirs() -> float:
        started = time.perf_counter()
        classifier = KNeighborsClassifier(neighbours, algorithm="brute").fit(index_array, label_array)
        predictions["theirs"] = torch.from_numpy(classifier.predict(query_array))
        return time.perf_counter() - started

    fast, slow = take_turns([ours, theirs], turns)
    agreement = (predictions["ours"] == predictions["theirs"]).double().mean().item()
    return [
        Row(
            measured=f"k-NN, {queries:,} queries to {points:,} × {dim}, k = {neighbours}",
            ours=duration(median(fast)),
            compared="scikit-learn's KNeighborsClassifier, brute force",
            theirs=duration(median(slow)),
            ratio=speedup(fast, slow),
            note=f"{100 * agreement:.2f} % of the predictions agree.",
        )
    ]
