"""The InfoNCE objective on the critic of all pairs of a batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def info_nce(critic: Tensor) -> Tensor:
    """− mean_i log ( exp c_ii / Σ_j exp c_ij ) of critics c (..., B, B), as (...); log B where they are constant.

    van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 4.
    """
    return -F.log_softmax(critic, dim=-1).diagonal(dim1=-2, dim2=-1).mean(-1)
