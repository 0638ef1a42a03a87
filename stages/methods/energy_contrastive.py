"""Contrastive energy with uniform negatives (Contrastive energy): low on the data, high elsewhere in the box.

    L(θ) = E_p [ E_θ(x) ] + E_u [ exp(− E_θ(u)) ],    u uniform on a box of area A        E* = − log p − log A

The loss lowers the energy on the data and raises it on the uniform points, over the whole box at once. So, unlike score
matching, it determines the relative weights of the modes, and p = exp(−E*)/A without a free constant. The cost is the
negatives: most of them fall where there is nothing to learn, and in many dimensions nearly all do.

The loss is the variational form of the Kullback-Leibler divergence: Nguyen et al. 2010, "Estimating divergence functionals and
the likelihood ratio by convex risk minimization", arXiv 0809.0853. As an energy: Gutmann and Hyvärinen 2010,
"Noise-contrastive estimation".
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Count, Mlp
from stages.nn.energy_model import EnergyModel
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class EnergyContrastive(EnergyModel):
    """A scalar energy, normalised against the uniform density on the box.

    Args:
        domain: provides the network and the uniform points.
        network: layer sizes of the energy network.
        negatives: uniform points per data point.
    """

    sigma = 0.0

    def __init__(self, domain: Domain, *, network: Mlp, negatives: Count) -> None:
        super().__init__(domain, network=network)
        self.uniform = domain.uniform
        self.negatives = negatives

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its two terms on a batch x (S, B, d), per seed."""
        uniform = self.uniform(x.repeat_interleave(self.negatives, -2), source)
        positive, negative = self.energy(x).mean(-1), (-self.energy(uniform)).exp().mean(-1)
        return {"loss": positive + negative, "positive": positive, "negative": negative}
