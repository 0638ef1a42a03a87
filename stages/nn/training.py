"""The one training loop: batch → method.loss → optimizer step → method.after_step."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from stages.errors import TrainingDiverged
from stages.nn.draws import TrainingDraws
from stages.nn.method import Method


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


class Checkpoints(Protocol):
    """Keeps a training from time to time, so that one which was killed goes on from there."""

    every: int

    def restore(self, method: Method, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Put back what was kept; returns the next step and the rows of the curves so far: 0 and none where nothing was."""
        ...

    def save(self, step: int, rows: list[dict[str, float]], method: Method, optimizer: torch.optim.Optimizer) -> None:
        """Keep what decides the rest of the training, whose next step is `step`."""
        ...


def learning_rate_factor(step: int, steps: int, *, schedule: Literal["constant", "cosine"], warmup: int) -> float:
    """Factor on the learning rate: a linear rise over `warmup` steps, then constant or half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


def fit(
    method: Method,
    batches: Iterator[Tensor],
    *,
    name: str,
    draws: TrainingDraws,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    schedule: Literal["constant", "cosine"],
    warmup: int,
    log_every: int,
    snapshots: list[int],
    on_snapshot: Callable[[int], None],
    loss: Callable[[Tensor, TrainingDraws], dict[str, Tensor]] | None = None,
    checkpoints: Checkpoints | None = None,
    report: bool = True,
) -> list[dict[str, float]]:
    """Train `method` in place with AdamW and return its learning curves.

    Args:
        method: what to train; its losses (S,) are summed over the seeds, so that no seed sees another one's gradient.
        batches: the training batches.
        name: what to call the method in messages.
        draws: the random side of the losses.
        steps, learning_rate, weight_decay, schedule, warmup: the params block `train`.
        log_every: steps between two rows of the curves, which are read only then.
        snapshots: the steps before which `on_snapshot` is called; `steps` itself stands for the end.
        loss: what is called instead of `method.loss`, where several processes share a batch.
        checkpoints: what keeps the training and puts it back.
        report: whether to say on the terminal how far it is.

    Returns:
        One row per logged step: `step`, then mean and standard deviation over seeds of each part of the loss.

    Raises:
        TrainingDiverged: a loss or, after the last step, a parameter is not finite.
    """
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    loss = loss or method.loss
    watch = _Watch(name)
    first, rows = checkpoints.restore(method, optimizer) if checkpoints else (0, [])
    method.train()
    quiet = not sys.stderr.isatty()
    for step in tqdm(range(first, steps), name, steps, initial=first, unit="step", disable=quiet or not report, leave=False):
        if step in snapshots:
            on_snapshot(step)
            method.train()
        draws.advance(step, steps)
        parts = loss(next(batches), draws)
        factor = learning_rate_factor(step, steps, schedule=schedule, warmup=warmup)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * factor * group.get("scale", 1)
        optimizer.zero_grad(set_to_none=True)
        parts["loss"].sum().backward()
        optimizer.step()
        method.after_step((step + 1) / steps)
        watch.note(step, parts["loss"])
        if step % log_every == 0 or step == steps - 1:
            watch.check()
            rows.append(_curve_row(step, parts))
            if report and quiet and step % (10 * log_every) == 0:
                print(f"{name}: step {step} of {steps}, loss {rows[-1]['loss']:.4g}", flush=True)
        if checkpoints and (step + 1) % checkpoints.every == 0 and step + 1 < steps:
            watch.check()
            checkpoints.save(step + 1, rows, method, optimizer)
    watch.check_parameters(method, steps)
    method.eval()
    if steps in snapshots:
        on_snapshot(steps)
    return rows


class _Watch:
    """Keeps the losses since the last `check`, on the device, so that no step waits for its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[int] = []
        self.losses: list[Tensor] = []

    def note(self, step: int, loss: Tensor) -> None:
        self.steps.append(step)
        self.losses.append(loss.detach())

    def check(self) -> None:
        if not self.losses:
            return
        broken = (~torch.stack(self.losses).isfinite()).reshape(len(self.losses), -1).nonzero()
        if len(broken):
            row, seed = broken[0].tolist()
            raise TrainingDiverged(f"{self.name}: the loss is not finite at step {self.steps[row]}, seed {seed}")
        self.steps.clear()
        self.losses.clear()

    def check_parameters(self, method: Method, steps: int) -> None:
        for key, value in method.state_dict().items():
            if not value.isfinite().all():
                raise TrainingDiverged(f"{self.name}: {key} is not finite after the last of {steps} steps")


def _curve_row(step: int, parts: dict[str, Tensor]) -> dict[str, float]:
    row: dict[str, float] = {"step": step}
    for part, value in parts.items():
        # To the CPU first: not every device has double precision.
        values = value.detach().flatten().cpu().double()
        row[part] = values.mean().item()
        row[f"{part}_std"] = values.std(correction=0).item()
    return row
