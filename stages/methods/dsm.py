"""Denoising score matching.

Train s_θ to point from a noisy point back to the clean one; the minimiser is the score of the σ-smoothed density.

    L(θ) = E ‖ s_θ(x + σε) + ε/σ ‖²,    ε ~ N(0, I)        s* = ∇ log p_σ

The minimum is not zero: L(θ) = L(s*) + E ‖s_θ − s*‖², so what the loss exceeds its floor by IS the score error. With
s = −∇E the energy E is low on the data.

Vincent 2011, "A connection between score matching and denoising autoencoders", eq. 11.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp, Positive
from stages.nn.losses import denoising_error
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class Dsm(Method):
    """Denoising score matching at one noise level.

    Args:
        world: gives the network.
        network: the score network's layer sizes.
        sigma: σ, in units of x.
    """

    denoises = True

    def __init__(self, world: World, *, network: Mlp, sigma: Positive) -> None:
        super().__init__()
        self.network = world.mlp(inputs=2, outputs=2, **network)
        self.sigma = sigma

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x (S, B, 2), each point with a noise and its opposite, per seed."""
        noise = draws.normal(x)
        error = denoising_error(lambda noisy, _: self.score(noisy), x, noise, x.new_tensor(self.sigma))
        return {"loss": error.mean(-1)}

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ; the network gives the expectation of −ε, which is of the order of one."""
        return self.network(x) / self.sigma
