"""The training loop: batch → method.loss → optimizer step → method.after_step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from stages.core.errors import TrainingDiverged
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.optimizer import AdamW
from stages.nn.schedule import learning_rate_factor


class Checkpoints(Protocol):
    """Saves a training every `every` steps, so that it can resume after an interruption."""

    every: int

    def restore(self, method: Method, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Load the saved state; returns the next step and the rows of the curves so far, 0 and [] if nothing is saved."""
        ...

    def save(self, step: int, rows: list[dict[str, float]], method: Method, optimizer: torch.optim.Optimizer) -> None:
        """Save the state that determines the rest of the training; `step` is the next step."""
        ...


def fit(
    method: Method,
    batches: Iterator[Tensor],
    *,
    name: str,
    source: TrainingNoise,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    schedule: Literal["constant", "cosine"],
    warmup: int,
    log_every: int,
    snapshots: list[int],
    on_snapshot: Callable[[int], None],
    loss: Callable[[Tensor, TrainingNoise], dict[str, Tensor]] | None = None,
    checkpoints: Checkpoints | None = None,
    report: bool = True,
) -> list[dict[str, float]]:
    """Train `method` in place with AdamW and return its learning curves.

    Args:
        method: the method; its losses (S,) are summed over the seeds, so that each seed has its own gradient.
        batches: the training batches.
        name: of the method, in messages.
        source: the noise of the losses.
        steps, learning_rate, weight_decay, schedule, warmup: the params block `train`.
        log_every: steps between two rows of the curves; losses stay on the device in between.
        snapshots: steps before which `on_snapshot` is called; `steps` is the end of the training.
        on_snapshot: called with the step.
        loss: called instead of `method.loss` if several processes share a batch.
        checkpoints: saves and restores the training.
        report: whether to report progress on the terminal.

    Returns:
        One row per logged step: `step`, then mean and standard deviation over seeds of each term of the loss.

    Raises:
        TrainingDiverged: a loss or, after the last step, a parameter is not finite.
    """
    optimizer = AdamW(method.parameter_groups(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    loss = loss or method.loss
    monitor = _LossMonitor(name)
    first, rows = checkpoints.restore(method, optimizer) if checkpoints else (0, [])
    method.train()
    quiet = not sys.stderr.isatty()
    for step in tqdm(range(first, steps), name, steps, initial=first, unit="step", disable=quiet or not report, leave=False):
        if step in snapshots:
            on_snapshot(step)
            method.train()
        source.advance(step, steps)
        parts = loss(next(batches), source)
        factor = learning_rate_factor(step, steps, schedule=schedule, warmup=warmup)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * factor * group.get("scale", 1)
        optimizer.zero_grad(set_to_none=True)
        parts["loss"].sum().backward()
        optimizer.step()
        method.after_step((step + 1) / steps)
        monitor.record(step, parts["loss"])
        if step % log_every == 0 or step == steps - 1:
            monitor.check()
            rows.append(_curve_row(step, parts))
            if report and quiet and step % (10 * log_every) == 0:
                print(f"{name}: step {step} of {steps}, loss {rows[-1]['loss']:.4g}", flush=True)
        if checkpoints and (step + 1) % checkpoints.every == 0 and step + 1 < steps:
            monitor.check()
            checkpoints.save(step + 1, rows, method, optimizer)
    monitor.check_parameters(method, steps)
    method.eval()
    if steps in snapshots:
        on_snapshot(steps)
    return rows


class _LossMonitor:
    """Collects the losses since the last `check` on the device, so that no step waits for its loss."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[int] = []
        self.losses: list[Tensor] = []

    def record(self, step: int, loss: Tensor) -> None:
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
