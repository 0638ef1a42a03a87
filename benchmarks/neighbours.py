"""The k-NN classifier against scikit-learn's by brute force, on random embeddings of unit length, in single precision.

Both sides start from the same arrays and end with a class for each query; both are exact, so they agree but for ties.
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


def rows(*, points: int, dim: int, queries: int, neighbours: int, turns: int) -> list[Row]:
    """Seconds for all queries, and how many of them both sides answer alike."""
    generator = torch.Generator().manual_seed(0)
    index = F.normalize(torch.randn(points, dim, generator=generator), dim=-1)
    asked = F.normalize(torch.randn(queries, dim, generator=generator), dim=-1)
    labels = torch.randint(CLASSES, (points,), generator=generator)
    index_array, label_array, asked_array = index.numpy(), labels.numpy(), asked.numpy()
    answers = {}

    def ours() -> float:
        started = time.perf_counter()
        answers["ours"] = knn_classify(index, labels, asked, neighbours)
        return time.perf_counter() - started

    def theirs() -> float:
        started = time.perf_counter()
        classifier = KNeighborsClassifier(neighbours, algorithm="brute").fit(index_array, label_array)
        answers["theirs"] = torch.from_numpy(classifier.predict(asked_array))
        return time.perf_counter() - started

    fast, slow = take_turns([ours, theirs], turns)
    agreement = (answers["ours"] == answers["theirs"]).double().mean().item()
    return [
        Row(
            measured=f"k-NN, {queries:,} queries to {points:,} × {dim}, k = {neighbours}",
            ours=duration(median(fast)),
            compared="scikit-learn's KNeighborsClassifier by brute force",
            theirs=duration(median(slow)),
            ratio=speedup(fast, slow),
            note=f"{100 * agreement:.2f} % of the predictions agree.",
        )
    ]
