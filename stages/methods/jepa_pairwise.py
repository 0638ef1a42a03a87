"""Global pairwise JEPA (Pairwise JEPA): all first views against all second views.

    L(θ) = 1/B² Σ_ij ‖ a_i − b_j ‖²,    a_i = f_θ(x_i),  b_j = f_θ(x'_j)
         = tr Cov(a) + tr Cov(b) + ‖ ā − b̄ ‖²

The second line is an identity: the loss does not depend on which x' belongs to which x. The method minimises the variance of
the embedding explicitly, so it collapses, and it cannot learn a similarity structure from pairs that its loss does not
contain.

The identity is the parallel-axis (König–Huygens) theorem.
"""

from __future__ import annotations

from torch import Tensor

from stages.nn.joint_embedding import JointEmbedding
from stages.nn.noise import NoiseSource


def mean_squared_distance(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """mean_ij ‖a_i − b_j‖² of embeddings (..., B, D) as `loss`, with its terms `variance` and `offset`, each (...)."""
    variance = a.var(-2, correction=0).sum(-1) + b.var(-2, correction=0).sum(-1)
    offset = (a.mean(-2) - b.mean(-2)).square().sum(-1)
    return {"loss": variance + offset, "variance": variance, "offset": offset}


class JepaPairwise(JointEmbedding):
    """Minimise the distances between all embeddings of a batch and all those of the augmented views."""

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The mean squared distance of all pairs and its two terms on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        return mean_squared_distance(self.encoder(x), self.encoder(self.augment(x, source)))
