"""What do the nearest neighbours in the embedding say: the class of a point, or the value of a coordinate?"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1000
"""Queries per block: bounds the memory of the distance matrix."""


def nearest(index: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The `neighbours` nearest rows of `index` (N, D) by Euclidean distance, for each query (M, D): row numbers (M, k).

    Exact and brute force: argmin_i ‖q − a_i‖² = argmax_i q·a_i − ‖a_i‖²/2, one matrix product a block. The origin is moved to
    the mean first, since far from it the two terms cancel and leave rounding errors.
    """
    centre = index.mean(0)
    index, queries = index - centre, queries - centre
    half_norm = index.square().sum(-1) / 2
    blocks = [(chunk @ index.T).sub_(half_norm).topk(neighbours, dim=-1).indices for chunk in queries.split(CHUNK)]
    return torch.cat(blocks)


def vote(labels: Tensor, classes: int) -> Tensor:
    """The most frequent label of each row of (M, k), the smallest one on a tie, as scikit-learn decides it."""
    counts = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels)).argmax(-1)


def knn_classify(index: Tensor, labels: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The class (M,) that the nearest of `index` (N, D) with their `labels` (N,) give each query (M, D)."""
    return vote(labels[nearest(index, queries, neighbours)], int(labels.max()) + 1)


def knn_regress(index: Tensor, values: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The mean value (M, ...) of the nearest of `index` (N, D) with their `values` (N, ...) for each query (M, D)."""
    return values[nearest(index, queries, neighbours)].mean(1)
