"""Where the randomness of a loss comes from.

A method never owns a random generator: it asks a `Draws` for what it needs. In training the draws are fresh, on the
held-out points they are fixed and shared by all methods, so that two methods are compared on the same noise.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Draws(Protocol):
    """The random side of one evaluation of a loss; `progress` runs from 0 to 1 over the training."""

    progress: float
    generator: torch.Generator

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal ε of the shape of `like`."""
        ...

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform draws on [0, 1) of the shape of `like`."""
        ...

    def visible(self, like: Tensor) -> Tensor:
        """1 where a coordinate of `like` (..., B, 2) is seen and 0 where it is masked; one is masked per point."""
        ...


class TrainingDraws:
    """Fresh draws from one generator; the masked coordinate alternates from step to step."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.step = 0
        self.progress = 0.0

    def advance(self, step: int, steps: int) -> None:
        """Tell the draws which of the `steps` steps comes now."""
        self.step = step
        self.progress = step / max(steps - 1, 1)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal ε of the shape of `like`."""
        return torch.randn(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform draws on [0, 1) of the shape of `like`."""
        return torch.rand(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def visible(self, like: Tensor) -> Tensor:
        """All points of a step are masked in the same coordinate: 0 on even steps, 1 on odd ones."""
        mask = torch.ones(like.shape[-1], device=like.device, dtype=like.dtype)
        mask[self.step % like.shape[-1]] = 0
        return mask.expand(like.shape)


class FixedDraws:
    """The draws of a held-out batch: noise and mask from arrays, the rest from a generator that starts at `seed`.

    Args:
        noise: standard normal draws (K, B, 2), handed out in turn; asking for more than K is an error.
        mask: visible coordinates (B, 2).
        seed: of the generator, the same for all methods.
    """

    def __init__(self, noise: Tensor, mask: Tensor, seed: int = 0) -> None:
        self.generator = torch.Generator(device=noise.device).manual_seed(seed)
        self.progress = 1.0
        self._noise = iter(noise)
        self._mask = mask

    def normal(self, like: Tensor) -> Tensor:
        """The next of the K fixed draws, shared by all seeds."""
        try:
            return next(self._noise).expand(like.shape)
        except StopIteration:
            raise ValueError("the loss asks for more noise draws than the held-out views hold") from None

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform draws on [0, 1), shared by all seeds."""
        one = torch.rand(like.shape[1:], generator=self.generator, device=like.device, dtype=like.dtype)
        return one.expand(like.shape)

    def visible(self, like: Tensor) -> Tensor:
        """The fixed mask, shared by all seeds."""
        return self._mask.to(like.dtype).expand(like.shape)
