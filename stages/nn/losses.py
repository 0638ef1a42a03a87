"""Losses that several methods share: InfoNCE and the denoising error."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(critic: Tensor) -> Tensor:
    """− mean_i log ( exp c_ii / Σ_j exp c_ij ) of critics c (..., B, B), as (...); log B where they are constant.

    van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 4.
    """
    return -F.log_softmax(critic, dim=-1).diagonal(dim1=-2, dim2=-1).mean(-1)


def denoising_error(score: Callable[[Tensor, Tensor], Tensor], x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """½ Σ_± ‖ s(x ± σε, σ) ± ε/σ ‖², whose expectation the score of p_σ minimises.

    Both signs of each noise are taken. The expectation is that of one sign; but where s changes little over σ, the terms linear
    in ε, which are most of the gradient's variance, cancel: at σ = .1 a batch of pairs is worth many of single draws.

    Vincent 2011, "A connection between score matching and denoising autoencoders", eq. 11.

    Args:
        score: s, from points (S, 2B, 2) and noise levels (S, 2B, 1) to (S, 2B, 2).
        x: points (S, B, 2).
        noise: ε, of the shape of x.
        sigma: σ, (S, B, 1) or of fewer dimensions, in units of x.

    Returns:
        (S, B), in 1 / squared units of x.
    """
    x, noise = torch.cat((x, x), -2), torch.cat((noise, -noise), -2)
    sigma = sigma.expand(*noise.shape[:-2], noise.shape[-2] // 2, 1).repeat(*[1] * (noise.dim() - 2), 2, 1)
    error = (score(x + sigma * noise, sigma) + noise / sigma).square().sum(-1)
    return error.unflatten(-1, (2, -1)).mean(-2)
