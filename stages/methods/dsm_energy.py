"""Denoising score matching of a scalar energy.

The score is minus the gradient of one function, so that it is a gradient field by construction and the energy needs no
integration.

    s_θ = − ∇E_θ,    L(θ) = E ‖ s_θ(x + σε) + ε/σ ‖²,    ε ~ N(0, I)        E* = − log p_σ + const

The sign makes the energy LOW on the data. Where the data is, the loss fixes ∇E and so E up to a constant; between modes that
are far apart against σ there is no data, so each mode has a constant of its own: score matching cannot see their weights.

Vincent 2011, "A connection between score matching and denoising autoencoders", section 4; Saremi et al. 2018, "Deep energy
estimator networks", arXiv 1805.08306.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp, Positive
from stages.nn.gradient import gradient
from stages.nn.losses import denoising_error
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class DsmEnergy(Method):
    """Denoising score matching at one noise level with a scalar energy.

    Args:
        world: gives the network.
        network: the energy network's layer sizes.
        sigma: σ, in units of x.
    """

    denoises = True

    def __init__(self, world: World, *, network: Mlp, sigma: Positive) -> None:
        super().__init__()
        self.network = world.mlp(inputs=2, outputs=1, **network)
        self.sigma = sigma

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x (S, B, 2), each point with a noise and its opposite, per seed."""
        noise = draws.normal(x)
        error = denoising_error(lambda noisy, _: self.score(noisy), x, noise, x.new_tensor(self.sigma))
        return {"loss": error.mean(-1)}

    def energy(self, x: Tensor) -> Tensor:
        """E (..., B), in nats up to a constant."""
        return self.network(x).squeeze(-1)

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ."""
        return -gradient(self.energy, x, copies=self.network.copies, create_graph=self.training)
