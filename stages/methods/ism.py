"""Implicit score matching: the score of the data itself, without noise.

    L(θ) = E [ ½ ‖ s_θ(x) ‖² + tr ∇s_θ(x) ]        s* = ∇ log p

Integration by parts turns E ½ ‖s_θ − ∇ log p‖² into this form, in which the unknown score does not appear: L(θ) = L(s*) +
½ E ‖s_θ − s*‖² with L(s*) = − ½ E ‖s*‖². The trace costs one more derivative per coordinate, which is cheap in two
dimensions. On finitely many points the trace can fall without bound exactly there, which is why the network must be small
or the training short.

Hyvärinen 2005, "Estimation of non-normalized statistical models by score matching", eq. 4.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Mlp
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class Ism(Method):
    """Implicit score matching.

    Args:
        world: gives the network.
        network: the score network's layer sizes.
    """

    sigma = 0.0

    def __init__(self, world: World, *, network: Mlp) -> None:
        super().__init__()
        self.network = world.mlp(inputs=2, outputs=2, **network)

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective and its two parts on a batch x (S, B, 2), per seed."""
        score, slopes = self.network.with_jacobian(x)
        norm, divergence = score.square().sum(-1).mean(-1) / 2, slopes.diagonal(dim1=0, dim2=-1).sum(-1).mean(-1)
        return {"loss": norm + divergence, "norm": norm, "divergence": divergence}

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p."""
        return self.network(x)
