"""Contrastive learning of a scalar energy against uniform negatives.

    L(θ) = E_p [ E_θ(x) ] + E_u [ exp(− E_θ(u)) ],    u uniform on a box of area A        E* = − log p − log A

It pulls the energy down on the data and pushes it up where uniform points fall, everywhere at once, so unlike score matching it
sees the relative weights of the modes. At the minimum exp(−E) is normalised by itself. The price is the negatives: most fall
where there is nothing to learn, and in many dimensions nearly all do.

It is the Kullback-Leibler divergence in its variational form: Nguyen et al. 2010, "Estimating divergence functionals and the
likelihood ratio by convex risk minimization", arXiv 0809.0853; as an energy, Gutmann and Hyvärinen 2010, "Noise-contrastive
estimation".
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Count, Mlp
from stages.nn.gradient import gradient
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class EnergyContrastive(Method):
    """A scalar energy, low on the data and normalised against the uniform density on the box.

    Args:
        world: gives the network and the uniform points.
        network: the energy network's layer sizes.
        negatives: uniform points per data point.
    """

    sigma = 0.0

    def __init__(self, world: World, *, network: Mlp, negatives: Count) -> None:
        super().__init__()
        self.network = world.mlp(inputs=2, outputs=1, **network)
        self.uniform = world.uniform
        self.negatives = negatives

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective and its two parts on a batch x (S, B, 2), per seed."""
        uniform = self.uniform(x.repeat_interleave(self.negatives, -2), draws)
        positive, negative = self.energy(x).mean(-1), (-self.energy(uniform)).exp().mean(-1)
        return {"loss": positive + negative, "positive": positive, "negative": negative}

    def energy(self, x: Tensor) -> Tensor:
        """E (..., B), in nats: − log p − log A."""
        return self.network(x).squeeze(-1)

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p."""
        return -gradient(self.energy, x, copies=self.network.copies, create_graph=self.training)
