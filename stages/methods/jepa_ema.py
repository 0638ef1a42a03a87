"""JEPA with a moving-average target (BYOL-style).

The embedding of a perturbed view predicts the embedding that a slow copy of the encoder gives to the clean view.

    L(θ, φ) = E [ 2 − 2 cos( h_φ(f_θ(x')), sg f_θ'(x) ) ],    θ' ← m θ' + (1 − m) θ after every step

f is the encoder, h the predictor, sg stops the gradient and x' is a perturbed view of x. m rises from `decay` to 1 along half
a cosine, m = decay^((1 + cos πt)/2) with t from 0 to 1 over the training, and stays 0 where `decay` is 0. BYOL's own schedule,
1 − (1 − decay)(1 + cos πt)/2, is the same to first order in 1 − decay.
A constant map has zero loss, so it is a minimiser: nothing in the objective forbids a collapse, the dynamics avoid it. Without
the stopped gradient both branches are pulled together and do collapse; what the predictor and the moving average add to that is
measured by the study `ablation`.

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
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class JepaEma(Method):
    """Predict a slow target's embedding of the clean view from the perturbed view.

    Args:
        world: gives the encoder, the predictor and the perturbation.
        view: how the perturbed view is made.
        encoder: the encoder's layer sizes; `dim` is D.
        predictor: whether h is there at all; without it h is the identity.
        predictor_width: hidden units of h.
        stop_gradient: whether the target branch is kept out of the gradient. Without it both branches share θ.
        decay: m at the start of the training; 0 makes the target the encoder itself.
    """

    cosine = True

    def __init__(
        self,
        world: World,
        *,
        view: View,
        encoder: Encoder,
        predictor: Flag,
        predictor_width: Count,
        stop_gradient: Flag,
        decay: Fraction,
    ) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.encoder = world.encoder(**encoder)
        dim = self.encoder.outputs
        self.predictor = world.predictor(dim=dim, hidden=predictor_width) if predictor else nn.Identity()
        self.target = frozen_copy(self.encoder)
        self.stop_gradient = stop_gradient
        self.decay = decay

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x, per seed."""
        prediction = self.predictor(self.encoder(self.perturb(x, draws)))
        if self.stop_gradient:
            with torch.no_grad():
                target = self.target(x)
        else:
            target = self.encoder(x)
        return {"loss": 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean(-1)}

    def after_step(self, progress: float) -> None:
        """Move the target towards the encoder."""
        decay = self.decay ** ((1 + math.cos(math.pi * progress)) / 2) if self.decay else 0.0
        follow(self.target, self.encoder, decay)

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D) by the branch that sees clean inputs: BatchNorm statistics of perturbed ones would not fit."""
        return self.target(x) if self.stop_gradient else self.encoder(x)
