"""Noise-conditional score network (NCSN): one network for a schedule of noise levels.

    L(θ) = E_σ E (σ² + c) ‖ s_θ(x + σε, σ) + ε/σ ‖²,    ε ~ N(0, I)        s_θ(·, σ)* = ∇ log p_σ

At a single small σ the score is learned on the data and not between the modes, so Langevin dynamics cannot find the mode
weights. At a large σ the density has one wide mode; annealing from there down to a small σ distributes the particles over the
modes in the right proportions.

With c the variance of a mode, 1/(σ² + c) is E ‖s*‖² per coordinate, so that every noise level contributes its relative error
to the loss. With c = 0, the usual choice, small σ hardly count. Weighting small σ is affordable because ε is used with both
signs (`denoising_error`). With b > 1, small σ are sampled more often. The network's inputs are x / √(a² + σ²) and log₁₀ σ, and
its output is divided by √(1 + σ²): both are then of order one at every noise level. a is the extent of the data.

Song and Ermon 2019, "Generative modeling by estimating gradients of the data distribution", arXiv 1907.05600, eqs. 5 and 6.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.config.field_types import Count, Mlp, NonNegative, Positive
from stages.nn.losses import denoising_error
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource, stratified
from stages.nn.schedule import geometric


class Ncsn(Method):
    """Denoising score matching over a schedule of noise levels.

    Args:
        domain: provides the network.
        network: layer sizes of the score network.
        sigma_max: largest σ, in units of x; of the order of the distances between modes.
        sigma_min: smallest σ.
        levels: noise levels at which the score is evaluated and the sampler anneals, a geometric sequence.
        sigma: the σ of the landscape.
        extent: a, in units of x.
        mode_variance: c, in squared units of x.
        emphasis: b; σ is sampled as log σ = log σ_min + u^b log(σ_max / σ_min) with u uniform on [0, 1).
    """

    def __init__(
        self,
        domain: Domain,
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
        self.network = domain.mlp(inputs=domain.dim + 1, outputs=domain.dim, **network)
        self.sigma_max, self.sigma_min = sigma_max, sigma_min
        self.sigma = sigma
        self.extent = extent
        self.mode_variance = mode_variance
        self.emphasis = emphasis
        self.sigmas = geometric(sigma_max, sigma_min, levels)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The weighted denoising loss on a batch x (S, B, d), per seed; u is stratified over the batch."""
        noise, u = source.normal(x), stratified(source, x)
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** u.pow(self.emphasis)
        weight = sigma.square().squeeze(-1) + self.mode_variance
        return {"loss": (weight * denoising_error(self._score, x, noise, sigma)).mean(-1)}

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        scaled = x / (self.extent**2 + sigma.square()).sqrt()
        return self.network(torch.cat((scaled, sigma.log() / math.log(10)), -1)) / (1 + sigma.square()).sqrt()

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at points (S, B, d), for σ from `sigma_min` to `sigma_max`; it extrapolates outside."""
        return self._score(x, torch.full_like(x[..., :1], sigma))

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at the σ of the landscape."""
        return self.score_at(x, self.sigma)
