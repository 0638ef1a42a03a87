"""Losses of views and of noisy points: InfoNCE, spectral contrastive, denoising score matching."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.nn.noise import NoiseSource


def info_nce(critic: Tensor) -> Tensor:
    """The InfoNCE loss with in-batch negatives.

        −1/B Σ_i log ( exp c_ii / Σ_j exp c_ij )

    A constant critic gives log B.
    van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 4.

    Args:
        critic: c_ij for all pairs of a first view i and a second view j, (..., B, B).

    Returns:
        (...), in nats.
    """
    return -F.log_softmax(critic, dim=-1).diagonal(dim1=-2, dim2=-1).mean(-1)


def spectral_contrastive_loss(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """The spectral contrastive loss with in-batch negatives.

        − 2/B Σ_i z_i·z'_i + 1/(B(B−1)) Σ_{i≠j} (z_i·z'_j)²

    HaoChen et al. 2021, arXiv 2106.04156, eq. 6. Unbiased: the second sum excludes the positive pairs.

    Args:
        first: embeddings z of the first views, (..., B, D).
        second: embeddings z' of the second views, (..., B, D).

    Returns:
        `loss`, `attraction` and `repulsion`, (...).
    """
    count = first.shape[-2]
    products = first @ second.mT
    own = products.diagonal(dim1=-2, dim2=-1)
    attraction = -2 * own.mean(-1)
    repulsion = (products.square().sum((-2, -1)) - own.square().sum(-1)) / (count * (count - 1))
    return {"loss": attraction + repulsion, "attraction": attraction, "repulsion": repulsion}


def denoising_loss(score: Callable[[Tensor], Tensor], x: Tensor, source: NoiseSource, sigma: float) -> Tensor:
    """The denoising score matching loss E ‖ s_θ(x + σε) + ε/σ ‖² at one noise level.

    Args:
        score: s_θ, from points (S, 2B, d) to scores of the same shape.
        x: clean points (S, B, d).
        source: source of ε, which is used with both signs (`denoising_error`).
        sigma: σ, in units of x.

    Returns:
        (S,), in 1 / squared units of x.
    """
    error = denoising_error(lambda noisy, _: score(noisy), x, source.normal(x), x.new_tensor(sigma))
    return error.mean(-1)


def denoising_error(score: Callable[[Tensor, Tensor], Tensor], x: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The antithetic denoising error ½ Σ_± ‖ s_θ(x ± σε, σ) ± ε/σ ‖² of each point.

    The score of p_σ minimises its expectation, which is that of one sign alone. Using both signs cancels the terms linear in ε
    wherever s_θ varies little over a distance σ; at small σ these terms dominate the variance of the gradient.
    Vincent 2011, "A connection between score matching and denoising autoencoders", eq. 11.

    Args:
        score: s_θ, from points (S, 2B, d) and noise levels (S, 2B, 1) to scores (S, 2B, d).
        x: clean points (S, B, d).
        noise: ε, of the shape of x.
        sigma: σ, (S, B, 1) or broadcastable to it, in units of x.

    Returns:
        (S, B), in 1 / squared units of x.
    """
    x, noise = torch.cat((x, x), -2), torch.cat((noise, -noise), -2)
    sigma = sigma.expand(*noise.shape[:-2], noise.shape[-2] // 2, 1).repeat(*[1] * (noise.dim() - 2), 2, 1)
    error = (score(x + sigma * noise, sigma) + noise / sigma).square().sum(-1)
    return error.unflatten(-1, (2, -1)).mean(-2)
