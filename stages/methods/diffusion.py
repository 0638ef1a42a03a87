"""Denoising diffusion (EDM): learn the denoiser at all noise levels, sample by the probability-flow ODE.

    L(θ) = E λ(σ) ‖ D_θ(x + σε, σ) − x ‖²,    ln σ ~ N(P_mean, P_std²),  λ(σ) = (σ² + a²)/(σa)²    D* = E[x | x + σε]

The minimiser is D*(y, σ) = y + σ² ∇ log p_σ(y), Tweedie's formula, so s_θ = (D_θ(y, σ) − y)/σ² is a score.
dx/dσ = −σ ∇ log p_σ(x) transports N(0, σ_start²) to p_{σ_min}: solved from noise it samples, solved from data it gives the
exact log-likelihood. The time is t = ln σ, in which the velocity varies evenly. The network F is preconditioned: D_θ(y, σ) =
c_skip y + c_out F(c_in y, ln σ) with

    c_skip = a²/(σ² + a²),    c_out = σa/√(σ² + a²),    c_in = 1/√(σ² + a²),

so that for data with the standard deviation a its inputs and targets have variance one, and λ weights all noise levels equally.
a is the standard deviation of a mode and not of the data as in the paper: in units of a the network can resolve the modes. ε is
used with both signs (`denoising_error`), since at small σ most of the gradient's variance is linear in ε.

Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", arXiv 2206.00364, table 1; Song et al.
2021, "Score-based generative modeling through stochastic differential equations", arXiv 2011.13456, for the likelihood.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.config.field_types import Count, Mlp, Positive
from stages.core.errors import UserError
from stages.nn.losses import denoising_error
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource, stratified
from stages.nn.schedule import geometric


class Diffusion(Method):
    """A preconditioned denoiser for a range of noise levels.

    Args:
        domain: provides the network.
        network: layer sizes of the network F.
        mode_std: a, the standard deviation of a mode, in units of x.
        mean_log_sigma: P_mean.
        std_log_sigma: P_std.
        sigma_start: noise level at which sampling starts, in units of x; large compared with the extent of the data.
        sigma_max: largest noise level at which the score is evaluated.
        sigma_min: smallest noise level at which the score is evaluated, and at which sampling ends.
        levels: noise levels at which the score is evaluated, a geometric sequence.
        sigma: the σ of the landscape.

    Raises:
        UserError: sigma_start is not above sigma_max, or sigma_max is below sigma_min.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        network: Mlp,
        mode_std: Positive,
        mean_log_sigma: float,
        std_log_sigma: Positive,
        sigma_start: Positive,
        sigma_max: Positive,
        sigma_min: Positive,
        levels: Count,
        sigma: Positive,
    ) -> None:
        super().__init__()
        if sigma_start <= sigma_max:
            raise UserError(f"diffusion: sigma_start is {sigma_start:g}: it must be above sigma_max, {sigma_max:g}")
        self.network = domain.mlp(inputs=domain.dim + 1, outputs=domain.dim, **network)
        self.mode_std = mode_std
        self.mean_log_sigma, self.std_log_sigma = mean_log_sigma, std_log_sigma
        self.start, self.end = math.log(sigma_start), math.log(sigma_min)
        self.sigma = sigma
        self.sigmas = geometric(sigma_max, sigma_min, levels)
        self.times = [math.log(level) for level in self.sigmas]

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The weighted denoising loss on a batch x (S, B, d), per seed; ln σ is stratified over the batch."""
        noise = source.normal(x)
        # Rounding may give 0 or 1, whose normal quantile is infinite.
        normal = torch.special.ndtri(stratified(source, x).clamp(1e-6, 1 - 1e-6))
        sigma = (self.mean_log_sigma + self.std_log_sigma * normal).exp()
        # λ(σ) ‖D − x‖² = λ(σ) σ⁴ ‖s + ε/σ‖²
        weight = (sigma.square() + self.mode_std**2) * sigma.square() / self.mode_std**2
        return {"loss": (weight.squeeze(-1) * denoising_error(self._score, x, noise, sigma)).mean(-1)}

    def time_of(self, sigma: float) -> float:
        """t = ln σ."""
        return math.log(sigma)

    def path(self, t: float) -> tuple[float, float, float, float]:
        """a = 1, b = σ = exp t and their derivatives."""
        return 1.0, math.exp(t), 0.0, math.exp(t)

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """The learned velocity −σ² ∇ log p_σ at points (S, B, d), with σ = exp t."""
        return -math.exp(2 * t) * self.score_at(x, math.exp(t))

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(D_θ(x, σ) − x)/σ², with the difference of c_skip x and x in closed form: at small σ it would cancel."""
        variance = sigma.square() + self.mode_std**2
        predicted = self.network(torch.cat((x / variance.sqrt(), sigma.log()), -1))
        return (predicted * self.mode_std * variance.sqrt() / sigma - x) / variance

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at points (S, B, d)."""
        return self._score(x, torch.full_like(x[..., :1], sigma))

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at the σ of the landscape."""
        return self.score_at(x, self.sigma)
