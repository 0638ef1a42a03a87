"""Noise-contrastive estimation (NCE): classify data against points from a known density.

    L(θ) = − E_p log σ(G(x)) − ν E_q log σ(−G(u)),    G(x) = −E_θ(x) − log(ν q(x)),    q = N(0, s² I)        E* = −log p

σ is the logistic function, q the density of the negatives u and ν their number per data point. The best classifier has the
logit log[p / (ν q)], and q is known, so −E_θ estimates log p including its constant: the energy is normalised without a
partition function. q must cover the data; where p is below q by many nats the negatives say little.

Gutmann and Hyvärinen 2010, "Noise-contrastive estimation: a new estimation principle for unnormalized statistical models",
eq. 3; ν > 1: the same authors 2012, JMLR 13.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Count, Mlp, Positive
from stages.nn.energy_model import EnergyModel
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class Nce(EnergyModel):
    """A scalar energy −log p, normalised by comparison with normal negatives.

    Args:
        domain: provides the network.
        network: layer sizes of the energy network.
        negatives: ν.
        negative_std: s, in units of x; of the order of the extent of the data.
    """

    sigma = 0.0

    def __init__(self, domain: Domain, *, network: Mlp, negatives: Count, negative_std: Positive) -> None:
        super().__init__(domain, network=network)
        self.negatives, self.negative_std = negatives, negative_std

    def energy(self, x: Tensor) -> Tensor:
        """E_θ (..., B), in nats: the network's correction to −log q."""
        return self.network(x).squeeze(-1) - self._log_negative(x)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """The learned log p = −E_θ at x (..., B, d), (..., B)."""
        return -self.energy(x)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The classification loss and its two terms on a batch x (S, B, d), per seed, in nats per data point."""
        uniform = source.uniform(torch.cat([x] * self.negatives, -2))
        # Rounding gives 0 at times, whose normal quantile is infinite.
        u = self.negative_std * torch.special.ndtri(uniform.clamp_min(1e-8))
        positive = F.softplus(-self._logit(x)).mean(-1)
        negative = self.negatives * F.softplus(self._logit(u)).mean(-1)
        return {"loss": positive + negative, "positive": positive, "negative": negative}

    def _logit(self, x: Tensor) -> Tensor:
        return -self.energy(x) - self._log_negative(x) - math.log(self.negatives)

    def _log_negative(self, x: Tensor) -> Tensor:
        """Log q(x)."""
        variance = self.negative_std**2
        return -(x.square().sum(-1) / variance + x.shape[-1] * math.log(2 * math.pi * variance)) / 2
