"""Flow matching: learn the velocity that transports normal noise to the data along straight lines.

    L(θ) = E ‖ v_θ(x_t, t) − (x − ε) ‖²,    x_t = t x + (1 − t) ε,  ε ~ N(0, I),  t uniform        v* = E[x − ε | x_t]

The minimiser is the velocity of a flow dx/dt = v*(x, t) from N(0, I) at t = 0 to the density of the data at t = 1: solved from
noise it samples, solved from data it gives the exact log-likelihood. Up to a scale x_t is a noisy point, x_t / t = x + σε with
σ = (1 − t)/t, so v* is linear in the score of p_σ: ∇ log p_σ(y) = (v*(ty, t) − y) t/σ.

The network predicts the residual of the best linear predictor of x − ε from x_t for data with variance a² per coordinate, in
units of its standard deviation, as Karras et al. 2022 (arXiv 2206.00364) do for the denoiser. a is the standard deviation of a
mode and not of the data: in units of a the network can resolve the modes, and it learns their distances. ε is used with both
signs, which cancels the terms linear in ε near t = 1, as in `denoising_error`.

Lipman et al. 2023, "Flow matching for generative modeling", arXiv 2210.02747, eqs. 20 to 23, with σ_min = 0.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from stages.config.field_types import Count, Mlp, Positive
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource, stratified
from stages.nn.schedule import geometric


class FlowMatching(Method):
    """Conditional flow matching with the linear (optimal transport) path.

    Args:
        domain: provides the network.
        network: layer sizes of the velocity network.
        mode_std: a, the standard deviation of a mode, in units of x.
        sigma_max: largest noise level (1 − t)/t at which the score is evaluated, in units of x.
        sigma_min: smallest noise level at which the score is evaluated.
        levels: noise levels at which the score is evaluated, a geometric sequence.
        sigma: the σ of the landscape.

    Raises:
        UserError: sigma_max is below sigma_min.
    """

    start, end = 0.0, 1.0
    times: ClassVar[list[float]] = [step / 10 for step in range(11)]

    def __init__(
        self,
        domain: Domain,
        *,
        network: Mlp,
        mode_std: Positive,
        sigma_max: Positive,
        sigma_min: Positive,
        levels: Count,
        sigma: Positive,
    ) -> None:
        super().__init__()
        self.network = domain.mlp(inputs=domain.dim + 1, outputs=domain.dim, **network)
        self.mode_std = mode_std
        self.sigma = sigma
        self.sigmas = geometric(sigma_max, sigma_min, levels)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The flow matching loss on a batch x (S, B, d), per seed; t is stratified over the batch, and ε has both signs."""
        noise, t = source.normal(x), stratified(source, x)
        x, noise, t = torch.cat((x, x), -2), torch.cat((noise, -noise), -2), torch.cat((t, t), -2)
        predicted = self._velocity(t * x + (1 - t) * noise, t)
        return {"loss": (predicted - (x - noise)).square().sum(-1).mean(-1)}

    def time_of(self, sigma: float) -> float:
        """The t at which x_t / t has the noise level σ."""
        return 1 / (1 + sigma)

    def path(self, t: float) -> tuple[float, float, float, float]:
        """a = t, b = 1 − t and their derivatives."""
        return t, 1 - t, 1.0, -1.0

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """The learned v(x, t) at points (S, B, d)."""
        return self._velocity(x, torch.full_like(x[..., :1], t))

    def _velocity(self, x: Tensor, t: Tensor) -> Tensor:
        variance = (t * self.mode_std).square() + (1 - t).square()
        residual = self.network(torch.cat((x / variance.sqrt(), t), -1))
        return x * (t * self.mode_std**2 - (1 - t)) / variance + residual * self.mode_std / variance.sqrt()

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at points (S, B, d)."""
        t = self.time_of(sigma)
        return (self.velocity(t * x, t) - x) * t / sigma

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at the σ of the landscape."""
        return self.score_at(x, self.sigma)
