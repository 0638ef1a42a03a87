"""Denoising score matching of a scalar energy (Energy DSM): the score is minus the gradient of the energy.

The score is minus the gradient of a scalar network, so it is a gradient field by construction and the energy needs no
integration.

    s_θ = − ∇E_θ,    L(θ) = E ‖ s_θ(x + σε) + ε/σ ‖²,    ε ~ N(0, I)        E* = − log p_σ + const

The energy is low on the data. On the data the loss determines ∇E and so E up to a constant. Between modes that are far apart
compared with σ there is no data, so each mode has a constant of its own: score matching cannot determine the mode weights.

Vincent 2011, "A connection between score matching and denoising autoencoders", section 4; Saremi et al. 2018, "Deep energy
estimator networks", arXiv 1805.08306.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp, Positive
from stages.nn.energy_model import EnergyModel
from stages.nn.losses import denoising_loss
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class DsmEnergy(EnergyModel):
    """Denoising score matching of a scalar energy at one noise level.

    Args:
        domain: provides the network.
        network: layer sizes of the energy network.
        sigma: σ, in units of x.
    """

    denoises = True

    def __init__(self, domain: Domain, *, network: Mlp, sigma: Positive) -> None:
        super().__init__(domain, network=network)
        self.sigma = sigma

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The denoising loss on a batch x (S, B, d), per seed."""
        return {"loss": denoising_loss(self.score, x, source, self.sigma)}
