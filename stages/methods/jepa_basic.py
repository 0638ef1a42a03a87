"""Basic JEPA: the embeddings of two views of a point should be equal.

    L(θ) = E ‖ f_θ(x) − f_θ(x') ‖²,    x' an augmented view of x

Every constant map has zero loss and is a minimiser, so the embedding collapses. The method shows how fast; the other JEPA
methods, except `jepa_pairwise`, differ in what prevents the collapse.

LeCun 2022, "A path towards autonomous machine intelligence", section 4.3, on collapse in joint-embedding architectures.
"""

from __future__ import annotations

from torch import Tensor

from stages.nn.joint_embedding import JointEmbedding
from stages.nn.noise import NoiseSource


class JepaBasic(JointEmbedding):
    """Minimise the distance between the embeddings of a point and its augmented view."""

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The mean squared distance on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        difference = self.encoder(x) - self.encoder(self.augment(x, source))
        return {"loss": difference.square().sum(-1).mean(-1)}
