"""Base of the energy-based methods: a network with one output, whose negative gradient is the score."""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp
from stages.nn.gradient import gradient
from stages.nn.method import Domain, Method


class EnergyModel(Method):
    """A method that learns an energy E_θ; the score is s_θ = −∇E_θ.

    Args:
        domain: provides the network.
        network: layer sizes of the energy network.
    """

    def __init__(self, domain: Domain, *, network: Mlp) -> None:
        super().__init__()
        self.network = domain.mlp(inputs=domain.dim, outputs=1, **network)

    def energy(self, x: Tensor) -> Tensor:
        """E_θ (..., B), in nats."""
        return self.network(x).squeeze(-1)

    def score(self, x: Tensor) -> Tensor:
        """The score −∇E_θ, of the shape of x."""
        return -gradient(self.energy, x, copies=self.network.copies, create_graph=self.training)
