"""Schedules: of the learning rate, and of the steps at which a training or a sampler is recorded."""

from __future__ import annotations

import math
from typing import Literal


def log_spaced(steps: int, count: int) -> list[int]:
    """At most `count` of the steps 0 (before the first) to `steps` (after the last), by their logarithm: most happens early.

    Always the first and the last; where two fall on one step there are fewer.
    """
    if count < 2:
        return [steps]
    return sorted({0, steps} | {round((steps + 1) ** (i / (count - 1))) - 1 for i in range(count)})


def learning_rate_factor(step: int, steps: int, *, schedule: Literal["constant", "cosine"], warmup: int) -> float:
    """Factor on the learning rate: a linear rise over `warmup` steps, then constant or half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2
