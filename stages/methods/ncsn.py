"""Noise-conditional score network: one network for a whole ladder of noise levels.

    L(θ) = E_σ E (σ² + c) ‖ s_θ(x + σε, σ) + ε/σ ‖²,    ε ~ N(0, I)        s_θ(·, σ)* = ∇ log p_σ

A single small σ teaches the score where data is and nothing between the modes, so Langevin dynamics cannot find their weights.
At a large σ all is one wide hill; annealing from there down to a small σ carries the particles to the modes in the right
proportions.

With c the variance of a mode, 1/(σ² + c) is what E ‖s*‖² is in each direction, so that every level counts by its relative
error; with c = 0, the usual choice, the small σ hardly count. That is affordable because each noise is taken with its
opposite (`denoising_error`). With b > 1 small σ are drawn more often.
The network sees x / √(a² + σ²) and log₁₀ σ, and its output is divided by √(1 + σ²): that keeps both of the order of one at
every level. a is the extent of the data.

Song and Ermon 2019, "Generative modeling by estimating gradients of the data distribution", arXiv 1907.05600, eqs. 5 and 6.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.config.field_types import Count, Mlp, NonNegative, Positive
from stages.nn.losses import denoising_error
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class Ncsn(Method):
    """Denoising score matching over a ladder of noise levels.

    Args:
        world: gives the network.
        network: the score network's layer sizes.
        sigma_max: the largest σ, in units of x; of the order of the distances between modes.
        sigma_min: the smallest.
        levels: rungs of the ladder on which the score is measured and the sampler walks down, a geometric sequence.
        sigma: the σ at which the landscape is shown.
        extent: a, in units of x.
        mode_variance: c, in squared units of x.
        emphasis: b: the levels are drawn as log σ = log σ_min + u^b log(σ_max / σ_min) with u uniform.
    """

    def __init__(
        self,
        world: World,
        *,
        network: Mlp,
        sigma_max: Positive,
        sigma_min: Positive,
        levels: Count,
        sigma: Positive,
        extent: Positive,
        mode_variance: NonNegative,
        emphasis: Positive,
    ) -> None:
        super().__init__()
        self.network = world.mlp(inputs=3, outputs=2, **network)
        self.sigma_max, self.sigma_min = sigma_max, sigma_min
        self.sigma = sigma
        self.extent = extent
        self.mode_variance = mode_variance
        self.emphasis = emphasis
        rungs = range(levels)
        self.sigmas = [sigma_max * (sigma_min / sigma_max) ** (rung / max(levels - 1, 1)) for rung in rungs]

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x (S, B, 2), per seed; the u of a batch are one in each of B equal parts of [0, 1)."""
        noise = draws.normal(x)
        count = x.shape[-2]
        part = (torch.arange(count, device=x.device) + draws.uniform(x[..., 0])) / count
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** part.unsqueeze(-1).pow(self.emphasis)
        weight = sigma.square().squeeze(-1) + self.mode_variance
        return {"loss": (weight * denoising_error(self._score, x, noise, sigma)).mean(-1)}

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        scaled = x / (self.extent**2 + sigma.square()).sqrt()
        return self.network(torch.cat((scaled, sigma.log() / math.log(10)), -1)) / (1 + sigma.square()).sqrt()

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at any σ between the smallest and the largest."""
        return self._score(x, torch.full_like(x[..., :1], sigma))

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at the σ that is shown."""
        return self.score_at(x, self.sigma)
