"""Denoising diffusion (EDM): learn the denoiser at all noise levels, sample by the probability-flow ODE.

    L(θ) = E λ(σ) ‖ D_θ(x + σε, σ) − x ‖²,    ln σ ~ N(P_mean, P_std²),  λ(σ) = (σ² + a²)/(σa)²    D* = E[x | x + σε]

The minimiser is D*(y, σ) = y + σ² ∇ log p_σ(y), Tweedie's formula, so s_θ = (D_θ(y, σ) − y)/σ² is a score. With σ as the time,
dx/dσ = −σ ∇ log p_σ(x) transports N(0, σ_start²) to p_{σ_min}: solved from noise it samples, solved from data it gives the
exact log-likelihood. The network F is preconditioned: D_θ(y, σ) = c_skip y + c_out F(c_in y, ln σ) with

    c_skip = a²/(σ² + a²),    c_out = σa/√(σ² + a²),    c_in = a/√(σ² + a²),

so that its targets have variance one, and λ weights all noise levels equally. a is the extent of the data. The inputs have the
standard deviation a and not 1 as in the paper, since the modes have widths of about 1 and must be resolved. ε is used with both
signs (`denoising_error`), since at small σ most of the gradient's variance is linear in ε.

Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", arXiv 2206.00364, table 1; Song et al.
2021, "Score-based generative modeling through stochastic differential equations", arXiv 2011.13456, for the likelihood.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.config.field_types import Count, Mlp, Positive
from stages.core.errors import UserError
from stages.nn.losses import denoising_error
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource
from stages.nn.schedule import geometric


class Diffusion(Method):
    """A preconditioned denoiser for a range of noise levels.

    Args:
        domain: provides the network.
        network: layer sizes of the network F.
        extent: a, in units of x.
        mean_log_sigma: P_mean.
        std_log_sigma: P_std.
        sigma_start: noise level at which sampling starts, in units of x; large compared with the extent.
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
        extent: Positive,
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
        self.extent = extent
        self.mean_log_sigma, self.std_log_sigma = mean_log_sigma, std_log_sigma
        self.start, self.end = sigma_start, sigma_min
        self.sigma = sigma
        self.sigmas = self.times = geometric(sigma_max, sigma_min, levels)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The weighted denoising loss on a batch x (S, B, d), per seed; ln σ is stratified over the batch."""
        noise, count = source.normal(x), x.shape[-2]
        u = ((torch.arange(count, device=x.device) + source.uniform(x[..., 0])) / count).unsqueeze(-1)
        # Rounding may give 0 or 1, whose normal quantile is infinite.
        normal = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6))
        sigma = (self.mean_log_sigma + self.std_log_sigma * normal).exp()
        # λ(σ) ‖D − x‖² = λ(σ) σ⁴ ‖s + ε/σ‖²
        weight = (sigma.square() + self.extent**2) * sigma.square() / self.extent**2
        return {"loss": (weight.squeeze(-1) * denoising_error(self._score, x, noise, sigma)).mean(-1)}

    def time_of(self, sigma: float) -> float:
        """t = σ."""
        return sigma

    def path(self, t: float) -> tuple[float, float, float, float]:
        """a = 1, b = t = σ and their derivatives."""
        return 1.0, t, 0.0, 1.0

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """The learned velocity −σ ∇ log p_σ at points (S, B, d), with σ = t."""
        return -t * self.score_at(x, t)

    def _score(self, x: Tensor, sigma: Tensor) -> Tensor:
        """(D_θ(x, σ) − x)/σ², with the difference of c_skip x and x in closed form: at small σ it would cancel."""
        variance = sigma.square() + self.extent**2
        predicted = self.network(torch.cat((x * self.extent / variance.sqrt(), sigma.log()), -1))
        return (predicted * self.extent * variance.sqrt() / sigma - x) / variance

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at points (S, B, d)."""
        return self._score(x, torch.full_like(x[..., :1], sigma))

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at the σ of the landscape."""
        return self.score_at(x, self.sigma)
