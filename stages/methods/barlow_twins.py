"""Barlow Twins: make the cross-correlation matrix of two views' embeddings the identity.

    L(θ) = Σ_i (1 − C_ii)² + λ Σ_{i≠j} C_ij²
    C_ij = 1/B Σ_b ẑ_bi ẑ'_bj,    ẑ = (z − mean z) / √(Var z + 10⁻⁵), over the batch

z and z' are the embeddings of two augmented views. The diagonal makes each coordinate equal in both views, the off-diagonal
terms decorrelate the coordinates. Since each coordinate is standardised, constant embeddings have C = 0 and the loss D. With T
the operator of the pairs, (T g)(a) = E[g(b) | a], the largest sum of C_ii at uncorrelated coordinates is reached in the span of
ψ_1 … ψ_D, but the loss counts a coordinate with a small eigenvalue as much as one with a large eigenvalue.

Zbontar et al. 2021, "Barlow Twins", arXiv 2103.03230, eqs. 1 and 2.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Encoder, NonNegative, View
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


def standardised(z: Tensor) -> Tensor:
    """Embeddings (..., B, D) with mean 0 and variance 1 over the batch, as `BatchNorm1d` without an affine map."""
    return (z - z.mean(-2, keepdim=True)) / (z.var(-2, keepdim=True, correction=0) + 1e-5).sqrt()


class BarlowTwins(JointEmbedding):
    """Decorrelation of the coordinates of the embedding across two views.

    Args:
        domain: provides the encoder and the augmentation.
        view: how both views are augmented.
        encoder: layer sizes of the encoder; `dim` is D.
        redundancy: λ.
    """

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder, redundancy: NonNegative) -> None:
        super().__init__(domain, view=view, encoder=encoder)
        self.redundancy = redundancy

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its two terms on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        first, second = (standardised(z) for z in self.two_views(x, source))
        correlation = first.mT @ second / first.shape[-2]
        diagonal = correlation.diagonal(dim1=-2, dim2=-1)
        invariance = (1 - diagonal).square().sum(-1)
        redundancy = correlation.square().sum((-2, -1)) - diagonal.square().sum(-1)
        return {"loss": invariance + self.redundancy * redundancy, "invariance": invariance, "redundancy": redundancy}
