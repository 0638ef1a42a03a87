"""Global pairwise JEPA: all first views against all second views.

    L(θ) = 1/B² Σ_ij ‖ a_i − b_j ‖²,    a_i = f_θ(x_i),  b_j = f_θ(x'_j)
         = tr Cov(a) + tr Cov(b) + ‖ ā − b̄ ‖²

The second line is an identity: which x' belongs to which x does not enter at all. The method minimises the variance of the
embedding explicitly, so it collapses, and it cannot learn a similarity structure from pairs it never looks at.

The identity is the parallel-axis (König–Huygens) theorem.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Encoder, View
from stages.nn.method import Method, World
from stages.nn.noise import Draws


def mean_squared_distance(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """mean_ij ‖a_i − b_j‖² of embeddings (..., B, D) in its two parts, `variance` and `offset`, each (...)."""
    variance = a.var(-2, correction=0).sum(-1) + b.var(-2, correction=0).sum(-1)
    offset = (a.mean(-2) - b.mean(-2)).square().sum(-1)
    return {"loss": variance + offset, "variance": variance, "offset": offset}


class JepaPairwise(Method):
    """Pull all embeddings of a batch together.

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
        """The objective and its two parts on a batch x, per seed."""
        return mean_squared_distance(self.encoder(x), self.encoder(self.perturb(x, draws)))

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D)."""
        return self.encoder(x)
