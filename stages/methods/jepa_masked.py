"""Masked-coordinate JEPA: predict the embedding of the whole point from one of its two coordinates.

    L(θ, φ) = E ‖ h_φ(f_θ(x ⊙ m, m)) − sg f_θ'(x, 1) ‖²,    θ' ← d θ' + (1 − d) θ after every step

m marks the visible coordinate and alternates from step to step. The minimiser over h is the conditional mean of the target
embedding, E[ f'(x) | visible coordinate ]. A mean is all that a point prediction can give: where the conditional has two
modes, it lies between them.

The mask is an input of its own. Writing a masked coordinate as 0 without saying so would make it indistinguishable from a
coordinate that IS 0, and (0, 0) is the centre of a mode here.

Assran et al. 2023, "Self-supervised learning from images with a joint-embedding predictive architecture", arXiv 2301.08243.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.config.field_types import Count, Fraction, MaskedEncoder
from stages.nn.ema import follow, frozen_copy
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class JepaMasked(Method):
    """Predict a slow target's embedding of the whole point from one coordinate.

    Args:
        world: gives the encoder and the predictor.
        encoder: the encoder's layer sizes; `dim` is D.
        predictor_width: hidden units of h.
        decay: d, constant over the training.
    """

    def __init__(self, world: World, *, encoder: MaskedEncoder, predictor_width: Count, decay: Fraction) -> None:
        super().__init__()
        self.encoder = world.encoder(inputs=4, **encoder)
        self.predictor = world.predictor(dim=self.encoder.outputs, hidden=predictor_width)
        self.target = frozen_copy(self.encoder)
        self.decay = decay

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x (S, B, 2), per seed."""
        with torch.no_grad():
            target = self.embed(x)
        return {"loss": (self.predict(x, draws.visible(x)) - target).square().sum(-1).mean(-1)}

    def after_step(self, progress: float) -> None:
        """Move the target towards the encoder."""
        follow(self.target, self.encoder, self.decay)

    def embed(self, x: Tensor) -> Tensor:
        """The target's embeddings (..., B, D) of whole points."""
        return self.target(torch.cat((x, torch.ones_like(x)), -1))

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """Predicted embeddings (..., B, D) of points of which only the coordinates marked 1 in `visible` are used."""
        return self.predictor(self.encoder(torch.cat((x * visible, visible), -1)))
