"""Shared by the tests of the methods on the mixture: the reference mixture, its domain, noise sources and two oracles."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from stages.config import params
from stages.config.mixture import load
from stages.core.paths import ROOT
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.noise import TrainingNoise
from stages.nn.points import Points

MOG = params.load(ROOT / "params.yaml").mog.model_copy(update={"preset": "reference"})
DESCRIBED = load(ROOT / "mixtures.yaml")["reference"]
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
