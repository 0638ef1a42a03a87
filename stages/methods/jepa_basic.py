"""Basic JEPA: two views of a point shall have the same embedding, and nothing else.

    L(θ) = E ‖ f_θ(x) − f_θ(x') ‖²,    x' a perturbed view of x

Any constant map has zero loss and is the minimiser: the embedding collapses. It is here to show that, and to measure how
fast; what the other methods add is what prevents it.

LeCun 2022, "A path towards autonomous machine intelligence", section 4.3, on collapse in joint-embedding architectures.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Encoder, View
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class JepaBasic(Method):
    """Pull the embeddings of two views together.

    Args:
        world: gives the encoder and the perturbation.
        view: how the perturbed view is made.
        encoder: the encoder's layer sizes; `dim` is D.
    """

    def __init__(self, world: World, *, view: View, encoder: Encoder) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.encoder = world.encoder(**encoder)

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x, per seed."""
        difference = self.encoder(x) - self.encoder(self.perturb(x, draws))
        return {"loss": difference.square().sum(-1).mean(-1)}

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D)."""
        return self.encoder(x)
