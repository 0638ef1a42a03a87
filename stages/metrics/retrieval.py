"""Do the images nearest to a query image have its class?"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.metrics.neighbours import nearest

CHUNK = 500
"""Queries per block, which limits the memory of the rankings."""


def average_precision(relevant: Tensor) -> Tensor:
    """The average precision of rankings: the precision at the rank of a relevant item, averaged over the relevant items.

        AP = 1/R Σ_k rel(k) · (1/k) Σ_{j ≤ k} rel(j)

    Args:
        relevant: whether the item at each rank is relevant, booleans (Q, N), best rank first.

    Returns:
        (Q,); 1 if all relevant items come first, 0 if there are none.
    """
    hits = relevant.double()
    ranks = torch.arange(1, relevant.shape[-1] + 1, device=relevant.device, dtype=torch.float64)
    return (hits * hits.cumsum(-1) / ranks).sum(-1) / hits.sum(-1).clamp(min=1)


def retrieve(embeddings: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Average precision (Q,) if each row of `queries` (Q,) ranks all other embeddings (N, D) by distance.

    An item is relevant if it has the query's label; labels (N,).
    """
    parts = []
    for chunk in queries.split(CHUNK):
        ranked = without_itself(nearest(embeddings, embeddings[chunk], len(embeddings)), chunk)
        parts.append(average_precision(labels[ranked] == labels[chunk, None]))
    return torch.cat(parts)


def without_itself(ranked: Tensor, items: Tensor) -> Tensor:
    """Remove the query item (Q,) from each ranking (Q, K + 1), or the last item if the query is not in it: (Q, K)."""
    itself = ranked == items[:, None]
    itself[~itself.any(-1), -1] = True
    return ranked[~itself].view(len(ranked), -1)
