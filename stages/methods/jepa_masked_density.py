"""Masked-coordinate JEPA with a density: predict how the hidden coordinate is distributed, not only its mean.

    L(θ, φ, ψ) = E ‖ h_φ(f_θ(x ⊙ m, m)) − sg f_θ'(x, 1) ‖² − E log q_ψ(x_hidden | f_θ(x ⊙ m, m))
    q_ψ(y | z) = Σ_k π_k(z) N(y; μ_k(z), s_k(z)²)

The first term is the masked JEPA, whose minimiser is a conditional mean; the second one is the likelihood of a mixture density,
whose minimiser is the conditional itself. Where that has two modes, the mean lies between them and the density on both.

Bishop 1994, "Mixture density networks"; Assran et al. 2023, arXiv 2301.08243.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.config.field_types import Count, Fraction, MaskedEncoder
from stages.nn.ema import follow, frozen_copy
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class JepaMaskedDensity(Method):
    """Predict a slow target's embedding of the whole point and the density of the hidden coordinate from the other one.

    Args:
        world: gives the encoder, the predictor and the head.
        encoder: the encoder's layer sizes; `dim` is D.
        predictor_width: hidden units of h and of the head.
        components: normal components of q.
        decay: d, the decay of the moving average, constant over the training.
    """

    def __init__(
        self, world: World, *, encoder: MaskedEncoder, predictor_width: Count, components: Count, decay: Fraction
    ) -> None:
        super().__init__()
        self.encoder = world.encoder(inputs=4, **encoder)
        dim = self.encoder.outputs
        self.predictor = world.predictor(dim=dim, hidden=predictor_width)
        self.head = world.mlp(inputs=dim, outputs=3 * components, width=predictor_width, depth=1)
        self.target = frozen_copy(self.encoder)
        self.decay = decay

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective and its two parts on a batch x (S, B, 2), per seed."""
        with torch.no_grad():
            target = self.embed(x)
        visible = draws.visible(x)
        prediction = (self.predict(x, visible) - target).square().sum(-1).mean(-1)
        likelihood = -self.log_density(x, visible).mean(-1)
        return {"loss": prediction + likelihood, "prediction": prediction, "likelihood": likelihood}

    def after_step(self, progress: float) -> None:
        """Move the target towards the encoder."""
        follow(self.target, self.encoder, self.decay)

    def embed(self, x: Tensor) -> Tensor:
        """The target's embeddings (..., B, D) of whole points."""
        return self.target(torch.cat((x, torch.ones_like(x)), -1))

    def _context(self, x: Tensor, visible: Tensor) -> Tensor:
        return self.encoder(torch.cat((x * visible, visible), -1))

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """Predicted embeddings (..., B, D) of points of which only the coordinates marked 1 in `visible` are used."""
        return self.predictor(self._context(x, visible))

    def log_density(self, x: Tensor, visible: Tensor) -> Tensor:
        """log q (..., B) of the coordinate of x that is marked 0 in `visible`, given the other one."""
        weight, mean, log_std = self.head(self._context(x, visible)).chunk(3, -1)
        hidden = (x * (1 - visible)).sum(-1, keepdim=True)
        exponent = ((hidden - mean) * (-log_std).exp()).square() / 2
        component = weight.log_softmax(-1) - exponent - log_std - math.log(2 * math.pi) / 2
        return component.logsumexp(-1)
