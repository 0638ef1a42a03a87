"""Base of the masked-coordinate methods: predict the EMA target's embedding of the whole point from a part of it."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.config.field_types import Count, Fraction, MaskedEncoder
from stages.nn.ema import follow, frozen_copy
from stages.nn.method import Domain, Method


class MaskedPrediction(Method):
    """Encoder f_θ, predictor h_φ and EMA target f_θ' of masked points.

    The mask is an input of its own: a masked coordinate that is written as 0 alone could not be told from a coordinate that
    is 0.

    Args:
        domain: provides the encoder and the predictor.
        encoder: layer sizes of the encoder; `dim` is D.
        predictor_width: hidden units of h_φ.
        decay: EMA decay, constant over training.
    """

    def __init__(self, domain: Domain, *, encoder: MaskedEncoder, predictor_width: Count, decay: Fraction) -> None:
        super().__init__()
        self.encoder = domain.encoder(inputs=2 * domain.dim, **encoder)
        self.predictor = domain.predictor(dim=self.encoder.outputs, hidden=predictor_width)
        self.target = frozen_copy(self.encoder)
        self.decay = decay

    def after_step(self, progress: float) -> None:
        """Update the EMA target: θ' ← decay · θ' + (1 − decay) · θ."""
        follow(self.target, self.encoder, self.decay)

    def embed(self, x: Tensor) -> Tensor:
        """The target's embeddings f_θ'(x, 1) (..., B, D) of whole points."""
        return self.target(torch.cat((x, torch.ones_like(x)), -1))

    def context(self, x: Tensor, visible: Tensor) -> Tensor:
        """The encoder's embeddings f_θ(x ⊙ m, m) (..., B, D) of masked points; m is `visible`."""
        return self.encoder(torch.cat((x * visible, visible), -1))

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """Predicted embeddings h_φ(f_θ(x ⊙ m, m)) (..., B, D); only the coordinates with `visible` 1 are used."""
        return self.predictor(self.context(x, visible))

    def prediction_error(self, x: Tensor, visible: Tensor) -> Tensor:
        """E ‖ h_φ(f_θ(x ⊙ m, m)) − sg f_θ'(x, 1) ‖² over the batch, (...)."""
        with torch.no_grad():
            target = self.embed(x)
        return (self.predict(x, visible) - target).square().sum(-1).mean(-1)
