"""Schedules of the learning rate, of noise levels, and of the steps at which a training or a sampler is recorded."""

from __future__ import annotations

import math
from typing import Literal

from stages.core.errors import UserError


def log_spaced(steps: int, count: int) -> list[int]:
    """At most `count` log-spaced steps from 0 (before the first) to `steps` (after the last): most changes are early.

    Both ends are included, or `steps` alone if `count` is below 2. Coinciding steps are merged.
    """
    if count < 2:
        return [steps]
    return sorted({0, steps} | {round((steps + 1) ** (i / (count - 1))) - 1 for i in range(count)})


def geometric(first: float, last: float, count: int) -> list[float]:
    """A geometric sequence of `count` numbers from `first` down to `last`, or `first` alone.

    Raises:
        UserError: `last` is above `first`.
    """
    if last > first:
        raise UserError(f"noise levels from {first:g} to {last:g}: the largest, sigma_max, must not be below sigma_min")
    return [first * (last / first) ** (i / max(count - 1, 1)) for i in range(count)]


def learning_rate_factor(step: int, steps: int, *, schedule: Literal["constant", "cosine"], warmup: int) -> float:
    """Factor on the learning rate: linear warm-up over `warmup` steps, then constant or a half cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2
