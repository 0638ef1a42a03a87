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
        part, parts: where several processes share each batch, which of how many equal parts of it this one gets.

    Raises:
        ValueError: the batch is larger than x, or not a multiple of `parts`.
    """

    def __init__(self, x: Tensor, *, batch_size: int, generator: torch.Generator, part: int = 0, parts: int = 1) -> None:
        if batch_size > len(x):
            raise ValueError(f"a batch of {batch_size} is more than the {len(x)} rows")
        if batch_size % parts:
            raise ValueError(f"a batch of {batch_size} has no {parts} equal parts")
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
        rows = self.order[self.start : self.start + self.batch_size][self.part]
        self.start += self.batch_size
        return self.x[rows]

    def state(self) -> dict[str, Tensor]:
        """Where in which epoch this is; the generator's state is not in it."""
        return {"order": self.order, "start": torch.tensor(self.start)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where `state` was taken."""
        self.order, self.start = state["order"].to(self.x.device), int(state["start"])
