"""The one training loop: batch → method.loss → optimizer step → method.after_step."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Literal

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


def epoch_batches(x: Tensor, *, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches (batch_size, ...) of rows of x (N, ...), each row once an epoch; an incomplete last batch is dropped."""
    if batch_size > len(x):
        raise ValueError(f"a batch of {batch_size} is more than the {len(x)} rows")
    while True:
        order = torch.randperm(len(x), generator=generator, device=x.device)
        for start in range(0, len(x) - batch_size + 1, batch_size):
            yield x[order[start : start + batch_size]]


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

    Returns:
        One row per logged step: `step`, then mean and standard deviation over seeds of each part of the loss.

    Raises:
        TrainingDiverged: a loss or, after the last step, a parameter is not finite.
    """
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    rows = []
    watch = _Watch(name)
    method.train()
    quiet = not sys.stderr.isatty()
    for step in tqdm(range(steps), desc=name, unit="step", disable=quiet, leave=False):
        if step in snapshots:
            on_snapshot(step)
            method.train()
        draws.advance(step, steps)
        parts = method.loss(next(batches), draws)
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
            if quiet and step % (10 * log_every) == 0:
                print(f"{name}: step {step} of {steps}, loss {rows[-1]['loss']:.4g}", flush=True)
    watch.check_parameters(method, steps)
    method.eval()
    if steps in snapshots:
        on_snapshot(steps)
    return rows


class _Watch:
    """Notes each seed's first loss that is not finite, on the device: nothing waits for it until `check`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first: Tensor | None = None

    def note(self, step: int, loss: Tensor) -> None:
        broken = torch.where(loss.detach().isfinite(), math.inf, float(step))
        self.first = broken if self.first is None else torch.minimum(self.first, broken)

    def check(self) -> None:
        first = torch.atleast_1d(torch.as_tensor(self.first)).cpu()
        seed = int(first.argmin())
        if first[seed].isfinite():
            raise TrainingDiverged(f"{self.name}: the loss is not finite at step {int(first[seed])}, seed {seed}")

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
