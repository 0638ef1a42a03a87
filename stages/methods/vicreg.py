"""VICReg: invariance between two views, with a floor under the variance and no correlation between coordinates.

    L(θ) = α · mean ‖ z − z' ‖²/D + β/2 · [ v(z) + v(z') ] + γ · [ c(z) + c(z') ]
    v(z) = 1/D Σ_d max(0, 1 − √(Var z_d + 10⁻⁴)),    c(z) = 1/D Σ_{d≠e} Cov(z)_de²

z and z' are the embeddings of two perturbed views. The first term is the basic JEPA; v forbids the collapse of a coordinate
and c the collapse onto a line. v is 0 where every coordinate has at least unit variance, c where all are uncorrelated; the
minimum of L weighs both against the invariance. Constant embeddings cost .99 β.

Bardes et al. 2022, "VICReg", arXiv 2105.04906, eq. 6; the scale of the terms is that of the authors' code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Encoder, NonNegative, View
from stages.nn.method import Method, World
from stages.nn.noise import Draws


def variance_hinge(z: Tensor) -> Tensor:
    """mean_d max(0, 1 − √(Var z_d + 10⁻⁴)) of embeddings (..., B, D), as (...)."""
    return F.relu(1 - (z.var(-2) + 1e-4).sqrt()).mean(-1)


def covariance_penalty(z: Tensor) -> Tensor:
    """1/D Σ_{d≠e} Cov(z)_de² of embeddings (..., B, D), as (...)."""
    centred = z - z.mean(-2, keepdim=True)
    covariance = centred.mT @ centred / (z.shape[-2] - 1)
    off_diagonal = covariance.square().sum((-2, -1)) - covariance.diagonal(dim1=-2, dim2=-1).square().sum(-1)
    return off_diagonal / z.shape[-1]


class Vicreg(Method):
    """Variance-invariance-covariance regularisation.

    Args:
        world: gives the encoder and the perturbation.
        view: how both views are made.
        encoder: the encoder's layer sizes; `dim` is D.
        invariance: α.
        variance: β.
        covariance: γ.
    """

    def __init__(
        self,
        world: World,
        *,
        view: View,
        encoder: Encoder,
        invariance: NonNegative,
        variance: NonNegative,
        covariance: NonNegative,
    ) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.encoder = world.encoder(**encoder)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective and its three parts on a batch x, per seed."""
        first, second = self.encoder(self.perturb(x, draws)), self.encoder(self.perturb(x, draws))
        invariance = (first - second).square().mean((-2, -1))
        variance = (variance_hinge(first) + variance_hinge(second)) / 2
        covariance = covariance_penalty(first) + covariance_penalty(second)
        loss = self.invariance * invariance + self.variance * variance + self.covariance * covariance
        return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D)."""
        return self.encoder(x)
