"""Implicit score matching (ISM): the score of the data itself, without noise.

    L(θ) = E [ ½ ‖ s_θ(x) ‖² + tr ∇s_θ(x) ]        s* = ∇ log p

Integration by parts turns ½ E ‖s_θ − ∇ log p‖² into this form, which does not contain the unknown score:
L(θ) = L(s*) + ½ E ‖s_θ − s*‖² with L(s*) = −½ E ‖s*‖². The trace needs one derivative per coordinate. On finitely many points
the trace is not bounded below, so the network has to be small or the training short.

Hyvärinen 2005, "Estimation of non-normalized statistical models by score matching", eq. 4.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource


class Ism(Method):
    """Implicit score matching of a vector field.

    Args:
        domain: provides the network.
        network: layer sizes of the score network.
    """

    sigma = 0.0

    def __init__(self, domain: Domain, *, network: Mlp) -> None:
        super().__init__()
        self.network = domain.mlp(inputs=domain.dim, outputs=domain.dim, **network)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its two terms on a batch x (S, B, d), per seed."""
        score, jacobian = self.network.with_jacobian(x)
        norm, divergence = score.square().sum(-1).mean(-1) / 2, jacobian.diagonal(dim1=0, dim2=-1).sum(-1).mean(-1)
        return {"loss": norm + divergence, "norm": norm, "divergence": divergence}

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p at points (S, B, d)."""
        return self.network(x)
