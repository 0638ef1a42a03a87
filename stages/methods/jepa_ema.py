"""JEPA with an EMA target (EMA JEPA): predict a slowly moving copy's embedding of the clean view, as BYOL does.

    L(θ, φ) = E [ 2 − 2 cos( h_φ(f_θ(x')), sg f_θ'(x) ) ],    θ' ← m θ' + (1 − m) θ after every step

f is the encoder, h the predictor, sg the stop-gradient and x' an augmented view of x. m rises from `decay` to 1 along half a
cosine, m = decay^((1 + cos πt)/2) with t from 0 to 1 over training; if `decay` is 0, m stays 0. BYOL's schedule,
1 − (1 − decay)(1 + cos πt)/2, equals it to first order in 1 − decay.
A constant map has zero loss, so it is a minimiser: the objective does not exclude collapse, the dynamics avoid it. Without the
stop-gradient both branches are pulled together and the embedding collapses; the study `ablation` measures what the predictor
and the EMA add.

Grill et al. 2020, "Bootstrap your own latent", arXiv 2006.07733; `decay: 0` is SimSiam, Chen and He 2021, arXiv 2011.10566;
why it does not collapse: Tian et al. 2021, arXiv 2102.06810.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.config.field_types import Count, Encoder, Flag, Fraction, View
from stages.nn.ema import follow, frozen_copy
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class JepaEma(JointEmbedding):
    """Predict the EMA target's embedding of the clean view from an augmented view.

    Args:
        domain: provides the encoder, the predictor and the augmentation.
        view: how the view is augmented.
        encoder: layer sizes of the encoder; `dim` is D.
        predictor: whether there is a predictor h; if not, h is the identity.
        predictor_width: hidden units of h.
        stop_gradient: whether the target branch is excluded from the gradient; if not, both branches share θ.
        decay: m at the start of training; 0 copies the encoder after every step.
    """

    cosine = True

    def __init__(
        self,
        domain: Domain,
        *,
        view: View,
        encoder: Encoder,
        predictor: Flag,
        predictor_width: Count,
        stop_gradient: Flag,
        decay: Fraction,
    ) -> None:
        super().__init__(domain, view=view, encoder=encoder)
        dim = self.encoder.outputs
        self.predictor = domain.predictor(dim=dim, hidden=predictor_width) if predictor else nn.Identity()
        self.target = frozen_copy(self.encoder)
        self.stop_gradient = stop_gradient
        self.decay = decay

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The cosine loss on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        prediction = self.predictor(self.encoder(self.augment(x, source)))
        if self.stop_gradient:
            with torch.no_grad():
                target = self.target(x)
        else:
            target = self.encoder(x)
        return {"loss": 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean(-1)}

    def after_step(self, progress: float) -> None:
        """Update the EMA target."""
        decay = self.decay ** ((1 + math.cos(math.pi * progress)) / 2) if self.decay else 0.0
        follow(self.target, self.encoder, decay)

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D) by the branch that receives clean inputs, whose BatchNorm statistics match them."""
        return self.target(x) if self.stop_gradient else self.encoder(x)
