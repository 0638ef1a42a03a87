"""Masked-coordinate JEPA (Masked JEPA): predict the embedding of the whole point from one of its coordinates.

    L(θ, φ) = E ‖ h_φ(f_θ(x ⊙ m, m)) − sg f_θ'(x, 1) ‖²,    θ' ← decay · θ' + (1 − decay) · θ after every step

m marks the visible coordinate and alternates from step to step; sg is the stop-gradient. The minimiser over h is the
conditional mean of the target embedding, E[ f_θ'(x, 1) | visible coordinate ]. A point prediction can give no more than a
mean: where the conditional has two modes, the prediction lies between them.

Assran et al. 2023, "Self-supervised learning from images with a joint-embedding predictive architecture", arXiv 2301.08243.
"""

from __future__ import annotations

from torch import Tensor

from stages.nn.masked_prediction import MaskedPrediction
from stages.nn.noise import NoiseSource


class JepaMasked(MaskedPrediction):
    """Predict the EMA target's embedding of the whole point from one coordinate."""

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The prediction error on a batch x (S, B, d), per seed."""
        return {"loss": self.prediction_error(x, source.visible(x))}
