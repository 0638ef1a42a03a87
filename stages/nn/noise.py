"""Noise sources for the losses.

A method owns no random generator: its loss asks a `NoiseSource`. In training the noise is fresh; on the held-out points it is
fixed and shared by all methods and seeds, so that methods are compared on the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Augmentation(Protocol):
    """A random augmentation that draws all its random numbers before it reads an image."""

    def __call__(self, x: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Augment a batch x (B, ...); `progress` runs from 0 to 1 over training."""
        ...

    def draw(self, like: Tensor, progress: float, generator: torch.Generator) -> Any:
        """The random numbers for a batch of the shape of `like`."""
        ...

    def transform(self, x: Tensor, draws: Sequence[Any]) -> Tensor:
        """Augment one or several concatenated batches x, with the random numbers of each."""
        ...


class NoiseSource(Protocol):
    """The random numbers of one evaluation of a loss.

    Attributes:
        progress: fraction of the training, from 0 to 1.
        generator: for other random numbers than the functions below give.
    """

    progress: float
    generator: torch.Generator

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise ε of the shape of `like`."""
        ...

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform random numbers on [0, 1) of the shape of `like`."""
        ...

    def visible(self, like: Tensor) -> Tensor:
        """A mask of the shape of `like` (..., B, d): 0 for one hidden coordinate of each point, 1 for the visible ones."""
        ...

    def view(self, x: Tensor, augmentation: Augmentation) -> Tensor:
        """A randomly augmented view of x (B, ...)."""
        return augmentation(x, self.progress, self.generator)


def stratified(source: NoiseSource, x: Tensor) -> Tensor:
    """One u in (0, 1) for each of the B points x (..., B, d), uniform and stratified: u_i lies in [i/B, (i+1)/B); (..., B, 1).

    A batch then contains all noise levels evenly, which lowers the variance of the gradient.
    """
    count = x.shape[-2]
    u = (torch.arange(count, device=x.device) + source.uniform(x[..., 0])) / count
    return u.unsqueeze(-1)


class TrainingNoise(NoiseSource):
    """Fresh noise from one generator; the hidden coordinate alternates from step to step."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.step, self.steps = 0, 1
        self.progress = 0.0

    def advance(self, step: int, steps: int) -> None:
        """Set the current step, from 0 to `steps` − 1."""
        self.step, self.steps = step, steps
        self.progress = self.progress_at(step)

    def progress_at(self, step: int) -> float:
        """The progress at a step of this training, from 0 to 1."""
        return step / max(self.steps - 1, 1)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal noise ε of the shape of `like`."""
        return torch.randn(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform random numbers on [0, 1) of the shape of `like`."""
        return torch.rand(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def visible(self, like: Tensor) -> Tensor:
        """The mask of the current step; it hides the same coordinate of all points, coordinate `step` modulo d."""
        mask = torch.ones(like.shape[-1], device=like.device, dtype=like.dtype)
        mask[self.step % like.shape[-1]] = 0
        return mask.expand(like.shape)


class FixedNoise(NoiseSource):
    """The noise of one held-out batch: normal noise and mask from arrays, the rest from a seeded generator.

    Args:
        noise: K standard normal arrays (K, B, d), returned one after the other by `normal`.
        mask: visible coordinates (B, d).
        seed: seed of the generator, the same for all methods.
    """

    def __init__(self, noise: Tensor, mask: Tensor, seed: int = 0) -> None:
        self.generator = torch.Generator(device=noise.device).manual_seed(seed)
        self.progress = 1.0
        self._noise = iter(noise)
        self._mask = mask

    def normal(self, like: Tensor) -> Tensor:
        """The next of the K arrays, shared by all seeds.

        Raises:
            ValueError: all K are used.
        """
        try:
            return next(self._noise).expand(like.shape)
        except StopIteration:
            raise ValueError("the loss asks for more noise than the held-out views hold") from None

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform random numbers on [0, 1), shared by all seeds."""
        one = torch.rand(like.shape[1:], generator=self.generator, device=like.device, dtype=like.dtype)
        return one.expand(like.shape)

    def visible(self, like: Tensor) -> Tensor:
        """The fixed mask, shared by all seeds."""
        return self._mask.to(like.dtype).expand(like.shape)
