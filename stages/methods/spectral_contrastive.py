"""Spectral contrastive loss (Spectral contrastive): factorise the operator of the positive pairs.

    L(θ) = − 2 E f_θ(a)·f_θ(b) + E ( f_θ(a)·f_θ(b') )²

a and b are two augmented views of a point, b' is a view of another one. With T the operator of the pairs,
(T g)(a) = E[g(b) | a], and λ_k, ψ_k its eigenvalues and eigenfunctions, L(θ) = ‖T − Σ_d f_d ⊗ f_d‖² − Σ_k λ_k². So the
minimisers are the rotations of (√λ_0 ψ_0, …, √λ_{D−1} ψ_{D−1}), and the minimum is −Σ_{k<D} λ_k²: the loss above it is an
error. Constant embeddings of the best length have the loss −1, since ψ_0 is constant and λ_0 = 1.

HaoChen et al. 2021, "Provable guarantees for self-supervised deep learning with spectral contrastive loss", arXiv 2106.04156,
eq. 6.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Encoder, View
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.losses import spectral_contrastive_loss
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class SpectralContrastive(JointEmbedding):
    """Low-rank factorisation of the operator of the positive pairs.

    Args:
        domain: provides the encoder and the augmentation.
        view: how both views are augmented.
        encoder: layer sizes of the encoder; `dim` is D.
    """

    factorises_operator = True

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder) -> None:
        super().__init__(domain, view=view, encoder=encoder)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its two terms on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        return spectral_contrastive_loss(*self.two_views(x, source))
