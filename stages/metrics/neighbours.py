"""What do the nearest neighbours in the embedding say: the class of a point, or the value of a coordinate?"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1000
"""Queries per block: bounds the memory of the distance matrix."""
GROUP = 64
"""Columns of the distance matrix of which the maximum is looked at first."""


class Index:
    """Points (N, D) among which the nearest are sought, prepared once for many queries.

    Exact and brute force: argmin_i ‖q − a_i‖² = argmax_i q·a_i − ‖a_i‖²/2, one matrix product a block. The origin is moved to
    the mean first, since far from it the two terms cancel and leave rounding errors.
    """

    def __init__(self, points: Tensor) -> None:
        self.centre = points.mean(0)
        self.points = points - self.centre
        self.half_norm = self.points.square().sum(-1) / 2

    def nearest(self, queries: Tensor, neighbours: int) -> Tensor:
        """The row numbers of the nearest points by Euclidean distance for each query (M, D): (M, k), the nearest first."""
        queries = queries - self.centre
        # One buffer for all blocks: the pages of a new one each time take longer to get than the products take.
        buffer = queries.new_empty(min(CHUNK, len(queries)), len(self.points))
        blocks = []
        for chunk in queries.split(CHUNK):
            scores = torch.matmul(chunk, self.points.T, out=buffer[: len(chunk)]).sub_(self.half_norm)
            blocks.append(_largest(scores, neighbours))
        return torch.cat(blocks)


def nearest(index: Tensor | Index, queries: Tensor, neighbours: int) -> Tensor:
    """The `neighbours` nearest rows of `index` (N, D) for each query (M, D), as row numbers (M, k), the nearest first."""
    return (index if isinstance(index, Index) else Index(index)).nearest(queries, neighbours)


def _largest(scores: Tensor, count: int) -> Tensor:
    """The columns of the `count` largest scores (M, N) of each row, the largest first, (M, count).

    They lie in those groups of columns whose own maxima are largest, and one pass finds the maxima: with many columns that
    takes a third of the time of `topk` on all of them. Rows with equal scores are left to `topk`: their order is its.
    """
    groups, more = scores.shape[-1] // GROUP, count + 1
    if groups < 8 * more:
        return scores.topk(count, dim=-1).indices
    grouped, rest = scores[:, : groups * GROUP].unflatten(-1, (groups, GROUP)), scores[:, groups * GROUP :]
    best = grouped.amax(-1).topk(more, dim=-1).indices.unsqueeze(-1)
    candidates = torch.cat((grouped.gather(1, best.expand(-1, -1, GROUP)).flatten(1), rest), -1)
    columns = (best * GROUP + torch.arange(GROUP, device=scores.device)).flatten(1)
    beyond = torch.arange(groups * GROUP, scores.shape[-1], device=scores.device).expand(len(scores), -1)
    largest, places = candidates.topk(more, dim=-1)
    found = torch.cat((columns, beyond), -1).gather(1, places[:, :count])
    equal = (largest[:, 1:] == largest[:, :-1]).any(-1)
    found[equal] = scores[equal].topk(count, dim=-1).indices
    return found


def vote(labels: Tensor, classes: int) -> Tensor:
    """The most frequent label of each row of (M, k), the smallest one on a tie, as scikit-learn decides it."""
    counts = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels)).argmax(-1)


def knn_classify(index: Tensor | Index, labels: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The class (M,) that the nearest of `index` (N, D) with their `labels` (N,) give each query (M, D)."""
    return vote(labels[nearest(index, queries, neighbours)], int(labels.max()) + 1)


def knn_regress(index: Tensor | Index, values: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The mean value (M, ...) of the nearest of `index` (N, D) with their `values` (N, ...) for each query (M, D)."""
    return values[nearest(index, queries, neighbours)].mean(1)
