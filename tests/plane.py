"""Shared by the tests of the methods on the mixture: the reference mixture, its domain, noise sources and three oracles."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from stages.config import params
from stages.config.mixture import load
from stages.core.paths import ROOT
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.noise import TrainingNoise
from stages.nn.points import Points

MOG = params.load(ROOT / "params.yaml").mog.model_copy(update={"preset": "reference"})
PRESETS = {name: one for name, one in load(ROOT / "mixtures.yaml").items() if not one.noise_coordinates}
"""The mixtures of mixtures.yaml in the plane."""
DESCRIBED = PRESETS["reference"]
REFERENCE = setup.mixture(DESCRIBED)
(LEFT, RIGHT), (BOTTOM, TOP) = BOX = setup.box(DESCRIBED)
AREA = (RIGHT - LEFT) * (TOP - BOTTOM)


def domain(copies: int = 3) -> Points:
    """The domain of points in the plane with the reference mixture's box."""
    return Points(copies=copies, box=BOX)


def generator(seed: int = 0) -> torch.Generator:
    """A random generator, always in the same state."""
    return torch.Generator().manual_seed(seed)


def points(copies: int = 3, count: int = 16) -> Tensor:
    """Standard normal points (copies, count, 2), always the same, float32."""
    return torch.randn((copies, count, 2), generator=generator(1))


def source(seed: int = 0) -> TrainingNoise:
    """A noise source, always with the same noise."""
    return TrainingNoise(generator(seed))


def normal(*shape: int, seed: int = 1) -> Tensor:
    """Standard normal numbers, always the same, float64."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def pairs(x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Every point twice, once with its noise and once with the negated noise: the antithetic pairs of the denoising loss."""
    return torch.cat((x, x), -2), torch.cat((noise, -noise), -2)


def log_density(mixture: Mixture) -> Callable[[Tensor], Tensor]:
    """The log-density log p of points (..., d) as a torch function that can be differentiated."""
    parts = (torch.from_numpy(part) for part in (mixture.weights, mixture.means, mixture.covariances))
    weights, means, covariances = parts
    normals = MultivariateNormal(means, covariances, validate_args=False)
    return MixtureSameFamily(Categorical(weights), normals, validate_args=False).log_prob


def slope(function: Callable[[Tensor], Tensor], x: Tensor, step: float = 1e-5) -> Tensor:
    """Central differences of a function along each coordinate of x (..., d), stacked along the last axis."""
    axes = step * torch.eye(x.shape[-1], dtype=x.dtype)
    return torch.stack([(function(x + axis) - function(x - axis)) / (2 * step) for axis in axes], -1)


def gaussianised(x: Tensor, first: int) -> Tensor:
    """An exact map of the reference mixture to a standard normal distribution in the plane, from (..., N, 2) to (1, N, 2).

        z₁ = Φ⁻¹(F(x₁)),    z₂ = Φ⁻¹(F(x₂ | x₁))

    The map of Knothe and Rosenblatt; `first` is the coordinate that is x₁.
    """
    second, unit = 1 - first, Normal(0.0, 1.0)
    means, covariances, weights = (torch.from_numpy(v) for v in (REFERENCE.means, REFERENCE.covariances, REFERENCE.weights))
    variance, slope = covariances[:, first, first], covariances[:, first, second] / covariances[:, first, first]
    scaled = (x[..., first, None] - means[:, first]) / variance.sqrt()
    given = torch.softmax(weights.log() + unit.log_prob(scaled) - variance.log() / 2, -1)
    mean = means[:, second] + slope * (x[..., first, None] - means[:, first])
    rest = covariances[:, second, second] - slope * covariances[:, first, second]
    levels = (weights * unit.cdf(scaled)).sum(-1), (given * unit.cdf((x[..., second, None] - mean) / rest.sqrt())).sum(-1)
    z = torch.special.ndtri(torch.stack(levels, -1).clamp(1e-12, 1 - 1e-12))
    return z.expand(1, *z.shape[-2:])
