"""Base of the joint-embedding methods: an encoder and an augmentation."""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Encoder, View
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource


class JointEmbedding(Method):
    """A method that trains an encoder f_θ on augmented views.

    Args:
        domain: provides the encoder and the augmentation.
        view: how a view is augmented.
        encoder: layer sizes of the encoder; `dim` is D.
    """

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder) -> None:
        super().__init__()
        self.augment = domain.augmentation(**view)
        self.encoder = domain.encoder(**encoder)

    def two_views(self, x: Tensor, source: NoiseSource) -> tuple[Tensor, Tensor]:
        """Embeddings z, z' (..., B, D) of two independently augmented views of each point or image of x."""
        return self.encoder(self.augment(x, source)), self.encoder(self.augment(x, source))

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D)."""
        return self.encoder(x)
