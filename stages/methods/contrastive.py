"""Contrastive joint embedding (InfoNCE): identify the second view of a point among those of a batch.

    L(θ) = − E log ( exp c(x_i, x'_i) / Σ_j exp c(x_i, x'_j) ),    c(x, x') = cos(f_θ(x), f_θ(x')) / τ

Both views are augmented. The minimiser over all critics c is the pointwise mutual information log [p(x' | x) / p(x')], up to a
function of x. A cosine critic is bounded by ±1/τ and cannot represent it, so this method learns which regions belong together
but not the density. Constant embeddings have the loss log B.

van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Encoder, Positive, View
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.losses import info_nce
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class Contrastive(JointEmbedding):
    """InfoNCE with a cosine critic.

    Args:
        domain: provides the encoder and the augmentation.
        view: how both views are augmented.
        encoder: layer sizes of the encoder; `dim` is D.
        temperature: τ.
    """

    cosine = True
    both_noisy = True

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder, temperature: Positive) -> None:
        super().__init__(domain, view=view, encoder=encoder)
        self.temperature = temperature

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The InfoNCE loss on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        return {"loss": info_nce(self.critic(self.augment(x, source), self.augment(x, source)))}

    def critic(self, x: Tensor, other: Tensor) -> Tensor:
        """c(x_i, x'_j), between −1/τ and 1/τ, for all pairs of x (..., B, d) and x' (..., C, d): (..., B, C)."""
        first, second = F.normalize(self.encoder(x), dim=-1), F.normalize(self.encoder(other), dim=-1)
        return first @ second.mT / self.temperature
