"""Endless batches of training data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def random_batches(x: Tensor, *, lead: tuple[int, ...], batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of rows of x (N, ...), drawn with replacement: (*lead, batch_size, ...)."""
    while True:
        yield x[torch.randint(len(x), (*lead, batch_size), generator=generator, device=x.device)]


class EpochBatches:
    """Endless batches (batch_size, ...) of rows of x (N, ...), each row once an epoch; an incomplete last batch is dropped.

    Args:
        x: the rows.
        batch_size: rows of a batch.
        generator: shuffles each epoch.
        part, parts: with several processes, the index of this process's part of each batch, and the number of equal parts.

    Raises:
        ValueError: `batch_size` is larger than N or not a multiple of `parts`.
    """

    def __init__(self, x: Tensor, *, batch_size: int, generator: torch.Generator, part: int = 0, parts: int = 1) -> None:
        if batch_size > len(x):
            raise ValueError(f"a batch of {batch_size} is larger than the {len(x)} rows")
        if batch_size % parts:
            raise ValueError(f"a batch of {batch_size} is not divisible into {parts} equal parts")
        self.x, self.batch_size, self.generator = x, batch_size, generator
        self.part = slice(part * batch_size // parts, (part + 1) * batch_size // parts)
        self.order = torch.empty(0, dtype=torch.int64, device=x.device)
        self.start = 0

    def __iter__(self) -> EpochBatches:
        return self

    def __next__(self) -> Tensor:
        if self.start + self.batch_size > len(self.order):
            self.order = torch.randperm(len(self.x), generator=self.generator, device=self.x.device)
            self.start = 0
        self.start += self.batch_size
        return self._ending_at(self.start)

    def coming(self, count: int) -> list[Tensor]:
        """The next `count` batches, or as many as remain in the current epoch."""
        ends = range(self.start + self.batch_size, len(self.order) + 1, self.batch_size)
        return [self._ending_at(end) for end in ends[:count]]

    def _ending_at(self, end: int) -> Tensor:
        return self.x[self.order[end - self.batch_size : end][self.part]]

    def state(self) -> dict[str, Tensor]:
        """The position in the current epoch; the generator's state is not included."""
        return {"order": self.order, "start": torch.tensor(self.start)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a state that `state` returned."""
        self.order, self.start = state["order"].to(self.x.device), int(state["start"])
