"""Sketched isotropic Gaussian regularisation (SIGReg): equal views, with embeddings drawn to a standard normal distribution.

    L(θ) = (1 − λ) · mean ‖ z − z' ‖²/D + λ/2 · [ T(z) + T(z') ]
    T(z) = mean_u B ∫_{−3}^{3} | φ̂_u(t) − e^{−t²/2} |² e^{−t²/2} dt,    φ̂_u(t) = 1/B Σ_i exp(i t u·z_i)

T is the Epps-Pulley test of normality, averaged over random directions u: by the Cramér-Wold theorem a distribution is standard
normal if and only if all its projections are. Its expectation is 1.05 for standard normal embeddings, whatever B, and at least
.40 B for constant ones: at B = 256 a constant embedding costs about 100 times as much.

Balestriero and LeCun 2025, "LeJEPA", arXiv 2511.08544, sections 4 and 5.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Count, Encoder, Fraction, View
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource

KNOTS = 17
"""Nodes of the trapezoidal rule on [0, 3]; the integrand is even."""


def epps_pulley(projected: Tensor) -> Tensor:
    """B ∫_{−3}^{3} | φ̂(t) − e^{−t²/2} |² e^{−t²/2} dt of M samples (..., B, M), each tested against N(0, 1): (..., M)."""
    t, step = torch.linspace(0, 3, KNOTS, device=projected.device, dtype=projected.dtype), 3 / (KNOTS - 1)
    normal = torch.exp(-t.square() / 2)
    weight = torch.full_like(t, 2 * step)
    weight[:: KNOTS - 1].fill_(step)
    angle = projected.unsqueeze(-1) * t
    real, imaginary = angle.cos().mean(-3), angle.sin().mean(-3)
    return projected.shape[-2] * (((real - normal).square() + imaginary.square()) * (weight * normal)).sum(-1)


class Sigreg(JointEmbedding):
    """Sketched isotropic Gaussian regularisation.

    Args:
        domain: provides the encoder and the augmentation.
        view: how both views are augmented.
        encoder: layer sizes of the encoder; `dim` is D.
        weight: λ.
        directions: random directions u per step.
    """

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder, weight: Fraction, directions: Count) -> None:
        super().__init__(domain, view=view, encoder=encoder)
        self.weight = weight
        self.directions = directions

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its two terms on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        first, second = self.two_views(x, source)
        shape = (first.shape[-1], self.directions)
        normal = torch.randn(shape, generator=source.generator, device=x.device, dtype=first.dtype)
        directions = F.normalize(normal, dim=0)
        invariance = (first - second).square().mean((-2, -1))
        normality = (epps_pulley(first @ directions) + epps_pulley(second @ directions)).mean(-1) / 2
        loss = (1 - self.weight) * invariance + self.weight * normality
        return {"loss": loss, "invariance": invariance, "normality": normality}
