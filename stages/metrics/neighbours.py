"""Do the nearest neighbours in the embedding predict a point's class or coordinates? k-NN search and read-outs."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1000
"""Queries per block, which limits the memory of the distance matrix."""
GROUP = 64
"""Columns per group in `_largest`."""


class Index:
    """Points (N, D), prepared for nearest-neighbour queries.

    The search is exact: argmin_i ‖q − a_i‖² = argmax_i q·a_i − ‖a_i‖²/2, one matrix product per block of queries. The points
    are centred first, since far from the origin the two terms nearly cancel and leave rounding errors.
    """

    def __init__(self, points: Tensor) -> None:
        self.centre = points.mean(0)
        self.points = points - self.centre
        self.half_norm = self.points.square().sum(-1) / 2

    def nearest(self, queries: Tensor, neighbours: int) -> Tensor:
        """Row numbers (M, k) of the points nearest to each query (M, D) by Euclidean distance, nearest first."""
        queries = queries - self.centre
        # One buffer for all blocks: allocating the memory of a new one takes longer than the product.
        buffer = queries.new_empty(min(CHUNK, len(queries)), len(self.points))
        blocks = []
        for chunk in queries.split(CHUNK):
            scores = torch.matmul(chunk, self.points.T, out=buffer[: len(chunk)]).sub_(self.half_norm)
            blocks.append(_largest(scores, neighbours))
        return torch.cat(blocks)


def nearest(index: Tensor | Index, queries: Tensor, neighbours: int) -> Tensor:
    """Row numbers (M, k) of the k = `neighbours` points of `index` (N, D) nearest to each query (M, D), nearest first."""
    return (index if isinstance(index, Index) else Index(index)).nearest(queries, neighbours)


def _largest(scores: Tensor, count: int) -> Tensor:
    """Columns (M, count) of the largest scores (M, N) in each row, largest first.

    They lie in the groups of columns with the largest maxima, which one pass finds: with many columns this takes a third of the
    time of `topk` on all columns. Rows with ties are recomputed by `topk`, to order them as it does.
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
    """The most frequent label (M,) in each row of labels (M, k); ties go to the smallest label, as in scikit-learn."""
    counts = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
    return counts.scatter_add_(1, labels, torch.ones_like(labels)).argmax(-1)


def knn_classify(index: Tensor | Index, labels: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The majority label (M,) of the points of `index` (N, D), labelled `labels` (N,), nearest to each query (M, D)."""
    return vote(labels[nearest(index, queries, neighbours)], int(labels.max()) + 1)


def knn_regress(index: Tensor | Index, values: Tensor, queries: Tensor, neighbours: int) -> Tensor:
    """The mean value (M, ...) of the points of `index` (N, D), with `values` (N, ...), nearest to each query (M, D)."""
    return values[nearest(index, queries, neighbours)].mean(1)
