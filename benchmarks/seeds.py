"""Seed-steps per second of the methods on the mixture: batched seeds, compared with a loop over seeds.

Each method is trained for a few steps with all seeds of params.yaml at once, then once per seed with a single copy, by the same
training loop on the same threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import Row, three_digits
from benchmarks.training import time_fit
from benchmarks.turns import speedup, take_turns
from stages.config.mixture import chosen
from stages.config.params import Params
from stages.mog.problem import setup
from stages.nn.batches import random_batches
from stages.nn.build import build, configured
from stages.nn.noise import TrainingNoise
from stages.nn.points import Points

GOAL = 3.0
"""Goal of the ratio of all methods together."""
CPU = torch.device("cpu")
"""The default device."""


def seconds(params: Params, name: str, points: Tensor, *, copies: int, steps: int) -> float:
    """Seconds of `steps` optimizer steps of `copies` copies, on the device of `points`."""
    settings, train = configured(params, name)
    method = build(name, Points(copies=copies, box=setup.box(chosen(params.mog))), settings).to(points.device)
    generator = torch.Generator(points.device).manual_seed(0)
    batches = random_batches(points, lead=(copies,), batch_size=train.batch_size, generator=generator)
    return time_fit(method, batches, name, train, TrainingNoise(generator), steps=steps, log_every=10 * steps)


def rows(
    params: Params, names: Sequence[str], *, steps: int, turns: int, device: torch.device = CPU, goal: float | None = GOAL
) -> Iterator[Row]:
    """One row per method, then one for all methods together, with their seconds summed within each turn."""
    sample, _ = setup.mixture(chosen(params.mog)).sample(params.mog.train_points, np.random.default_rng(0))
    points = torch.from_numpy(sample).float().to(device)
    all_together, all_alone = [0.0] * turns, [0.0] * turns
    for name in names:

        def batched(name: str = name) -> float:
            return seconds(params, name, points, copies=params.seeds, steps=steps)

        def looped(name: str = name) -> float:
            return sum(seconds(params, name, points, copies=1, steps=steps) for _ in range(params.seeds))

        together, alone = take_turns([batched, looped], turns)
        all_together = [a + b for a, b in zip(all_together, together, strict=True)]
        all_alone = [a + b for a, b in zip(all_alone, alone, strict=True)]
        yield _row(f"{params.seeds} seeds on the mixture, {name}", together, alone, params.seeds * steps)
    yield _row(
        f"{params.seeds} seeds on the mixture, all methods",
        all_together,
        all_alone,
        params.seeds * steps * len(names),
        goal=goal,
    )


def _row(measured: str, together: list[float], alone: list[float], seed_steps: int, goal: float | None = None) -> Row:
    return Row(
        measured=measured,
        ours=f"{three_digits(seed_steps / median(together))} seed-steps/s",
        compared="a loop over the seeds",
        theirs=f"{three_digits(seed_steps / median(alone))} seed-steps/s",
        ratio=speedup(together, alone),
        goal=goal,
    )
