"""Denoising score matching (DSM): point from a noisy point back to the clean one, at one noise level.

    L(θ) = E ‖ s_θ(x + σε) + ε/σ ‖²,    ε ~ N(0, I)        s* = ∇ log p_σ

The minimiser is the score of the density smoothed by σ. The minimum is not zero: L(θ) = L(s*) + E ‖s_θ − s*‖², so the excess
over L(s*) is the Fisher divergence.

Vincent 2011, "A connection between score matching and denoising autoencoders", eq. 11.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp, Positive
from stages.nn.losses import denoising_loss
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource


class Dsm(Method):
    """Denoising score matching of a vector field.

    Args:
        domain: provides the network.
        network: layer sizes of the score network.
        sigma: σ, in units of x.
    """

    denoises = True

    def __init__(self, domain: Domain, *, network: Mlp, sigma: Positive) -> None:
        super().__init__()
        self.network = domain.mlp(inputs=domain.dim, outputs=domain.dim, **network)
        self.sigma = sigma

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The denoising loss on a batch x (S, B, d), per seed."""
        return {"loss": denoising_loss(self.score, x, source, self.sigma)}

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at points (S, B, d): the network, which predicts E[−ε | x], divided by σ."""
        return self.network(x) / self.sigma
