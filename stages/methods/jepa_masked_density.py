"""Masked-coordinate JEPA with a density (Masked density JEPA): predict the distribution of the hidden coordinate.

    L(θ, φ, ψ) = E ‖ h_φ(f_θ(x ⊙ m, m)) − sg f_θ'(x, 1) ‖² − E log q_ψ(x_hidden | f_θ(x ⊙ m, m))
    q_ψ(y | z) = Σ_k π_k(z) N(y; μ_k(z), s_k(z)²)

The first term is that of the masked JEPA, whose minimiser is a conditional mean; the second is the negative log-likelihood of
a mixture density network, whose minimiser is the conditional density. Where that has two modes, the mean lies between them and
the density covers both.

Bishop 1994, "Mixture density networks"; Assran et al. 2023, arXiv 2301.08243.
"""

from __future__ import annotations

import math

from torch import Tensor

from stages.config.field_types import Count, Fraction, MaskedEncoder
from stages.nn.masked_prediction import MaskedPrediction
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class JepaMaskedDensity(MaskedPrediction):
    """Predict the EMA target's embedding of the whole point and the density of the hidden coordinate.

    Args:
        domain: provides the encoder, the predictor and the head.
        encoder: layer sizes of the encoder; `dim` is D.
        predictor_width: hidden units of h_φ and of the head.
        components: normal components of q_ψ.
        decay: EMA decay, constant over training.
    """

    def __init__(
        self, domain: Domain, *, encoder: MaskedEncoder, predictor_width: Count, components: Count, decay: Fraction
    ) -> None:
        super().__init__(domain, encoder=encoder, predictor_width=predictor_width, decay=decay)
        self.head = domain.mlp(inputs=self.encoder.outputs, outputs=3 * components, width=predictor_width, depth=1)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The loss and its two terms on a batch x (S, B, 2), per seed."""
        visible = source.visible(x)
        prediction = self.prediction_error(x, visible)
        likelihood = -self.log_density(x, visible).mean(-1)
        return {"loss": prediction + likelihood, "prediction": prediction, "likelihood": likelihood}

    def log_density(self, x: Tensor, visible: Tensor) -> Tensor:
        """log q_ψ (..., B), in nats, of the coordinate of x with `visible` 0, given the other one."""
        weight, mean, log_std = self.head(self.context(x, visible)).chunk(3, -1)
        hidden = (x * (1 - visible)).sum(-1, keepdim=True)
        exponent = ((hidden - mean) * (-log_std).exp()).square() / 2
        component = weight.log_softmax(-1) - exponent - log_std - math.log(2 * math.pi) / 2
        return component.logsumexp(-1)
