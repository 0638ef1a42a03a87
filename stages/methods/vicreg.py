"""Variance-invariance-covariance regularisation (VICReg): equal views, with a variance hinge and a covariance penalty.

    L(θ) = α · mean ‖ z − z' ‖²/D + β/2 · [ v(z) + v(z') ] + γ · [ c(z) + c(z') ]
    v(z) = 1/D Σ_d max(0, 1 − √(Var z_d + 10⁻⁴)),    c(z) = 1/D Σ_{d≠e} Cov(z)_de²

z and z' are the embeddings of two augmented views. The first term is that of the basic JEPA; v prevents the collapse of a
coordinate and c the collapse onto a line. v is 0 if every coordinate has at least unit variance, c if all are uncorrelated; at
the minimum of L both are traded off against the invariance. Constant embeddings have the loss .99 β.

Bardes et al. 2022, "VICReg", arXiv 2105.04906, eq. 6; the terms are scaled as in the authors' code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Encoder, NonNegative, View
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


def variance_hinge(z: Tensor) -> Tensor:
    """mean_d max(0, 1 − √(Var z_d + 10⁻⁴)) of embeddings (..., B, D), as (...)."""
    return F.relu(1 - (z.var(-2) + 1e-4).sqrt()).mean(-1)


def covariance_penalty(z: Tensor) -> Tensor:
    """1/D Σ_{d≠e} Cov(z)_de² of embeddings (..., B, D), as (...)."""
    centred = z - z.mean(-2, keepdim=True)
    covariance = centred.mT @ centred / (z.shape[-2] - 1)
    off_diagonal = covariance.square().sum((-2, -1)) - covariance.diagonal(dim1=-2, dim2=-1).square().sum(-1)
    return off_diagonal / z.shape[-1]


class Vicreg(JointEmbedding):
    """Variance-invariance-covariance regularisation.

    Args:
        domain: provides the encoder and the augmentation.
        view: how both views are augmented.
        encoder: layer sizes of the encoder; `dim` is D.
        invariance: α.
        variance: β.
        covariance: γ.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        view: View,
        encoder: Encoder,
        invariance: NonNegative,
        variance: NonNegative,
        covariance: NonNegative,
    ) -> None:
        super().__init__(domain, view=view, encoder=encoder)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its three terms on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        first, second = self.two_views(x, source)
        invariance = (first - second).square().mean((-2, -1))
        variance = (variance_hinge(first) + variance_hinge(second)) / 2
        covariance = covariance_penalty(first) + covariance_penalty(second)
        loss = self.invariance * invariance + self.variance * variance + self.covariance * covariance
        return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}
