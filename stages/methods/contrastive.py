"""Contrastive joint embedding (InfoNCE).

Tell, among all second views of a batch, which one belongs to a first view.

    L(θ) = − E log ( exp c(x_i, x'_i) / Σ_j exp c(x_i, x'_j) ),    c(x, x') = cos(f_θ(x), f_θ(x')) / τ

Both views are perturbed. Over all critics c the minimiser is log p(x' | x) / p(x') up to a function of x, the pointwise
mutual information. A cosine is bounded by ± 1/τ and cannot represent it, so this method learns which regions belong
together and not the density. Constant embeddings give log B.

van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Encoder, Positive, View
from stages.nn.losses import info_nce
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class Contrastive(Method):
    """InfoNCE with a cosine critic.

    Args:
        world: gives the encoder and the perturbation.
        view: how both views are made.
        encoder: the encoder's layer sizes; `dim` is D.
        temperature: τ.
    """

    cosine = True
    both_noisy = True

    def __init__(self, world: World, *, view: View, encoder: Encoder, temperature: Positive) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.encoder = world.encoder(**encoder)
        self.temperature = temperature

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x, per seed."""
        return {"loss": info_nce(self.critic(self.perturb(x, draws), self.perturb(x, draws)))}

    def critic(self, x: Tensor, other: Tensor) -> Tensor:
        """c(x_i, x'_j) of all pairs of x (..., B, 2) and x' (..., C, 2), bounded by ± 1/τ: (..., B, C)."""
        first, second = F.normalize(self.encoder(x), dim=-1), F.normalize(self.encoder(other), dim=-1)
        return first @ second.mT / self.temperature

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D)."""
        return self.encoder(x)
