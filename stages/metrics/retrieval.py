"""If one asks for the images nearest to an image, how many are of its class?"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.metrics.neighbours import nearest

CHUNK = 500
"""Queries per block: bounds the memory of the rankings."""


def average_precision(relevant: Tensor) -> Tensor:
    """The mean, over the relevant items of a ranking, of the precision down to their rank.

        AP = 1/R Σ_k rel(k) · (1/k) Σ_{j ≤ k} rel(j)

    Args:
        relevant: whether the item at each rank is relevant, booleans (Q, N), best first.

    Returns:
        (Q,); 1 where all relevant items come first, 0 where there are none.
    """
    hits = relevant.double()
    ranks = torch.arange(1, relevant.shape[-1] + 1, device=relevant.device, dtype=torch.float64)
    return (hits * hits.cumsum(-1) / ranks).sum(-1) / hits.sum(-1).clamp(min=1)


def retrieve(embeddings: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Average precision (Q,) of the embeddings in the rows `queries` (Q,), each among all the others (N, D) by distance."""
    parts = []
    for asked in queries.split(CHUNK):
        ranked = without_itself(nearest(embeddings, embeddings[asked], len(embeddings)), asked)
        parts.append(average_precision(labels[ranked] == labels[asked, None]))
    return torch.cat(parts)


def without_itself(ranked: Tensor, items: Tensor) -> Tensor:
    """Rankings (Q, K + 1) of the items (Q,) without the item itself or, where it is not there, the last."""
    itself = ranked == items[:, None]
    itself[~itself.any(-1), -1] = True
    return ranked[~itself].view(len(ranked), -1)
