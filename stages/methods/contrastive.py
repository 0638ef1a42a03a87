"""Contrastive joint embedding (InfoNCE).

Tell, among all second views of a batch, which one belongs to a first view.

    L(θ) = − E log ( exp c(x_i, x'_i) / Σ_j exp c(x_i, x'_j) ),    c(x, x') = cos(f_θ(x), f_θ(x')) / τ

Both views are perturbed. Over all critics c the minimiser is log p(x' | x) / p(x') up to a function of x, the pointwise
mutual information. A cosine is bounded by ± 1/τ and cannot represent it, so this method learns which regions belong
together and not the density. Constant embeddings give log B.

van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 4.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.nn.draws import Draws
from stages.nn.method import Method, World
from stages.vocabulary import Encoder, Positive, View


def info_nce(critic: Tensor) -> Tensor:
    """− mean_i log softmax_j(critic_ij) at j = i: critic (..., B, B) to (...)."""
    return -F.log_softmax(critic, dim=-1).diagonal(dim1=-2, dim2=-1).mean(-1)


class Contrastive(Method):
    """InfoNCE with a cosine critic.

    Args:
        world: gives the encoder and the perturbation.
        view: how both views are made.
        encoder: the encoder's layer sizes; `dim` is D.
        temperature: τ.
    """

    cosine = True

    def __init__(self, world: World, *, view: View, encoder: Encoder, temperature: Positive) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.encoder = world.encoder(**encoder)
        self.temperature = temperature

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x, per seed."""
        first = F.normalize(self.encoder(self.perturb(x, draws)), dim=-1)
        second = F.normalize(self.encoder(self.perturb(x, draws)), dim=-1)
        return {"loss": info_nce(first @ second.mT / self.temperature)}

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D)."""
        return self.encoder(x)
