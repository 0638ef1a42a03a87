"""Seeds as a dimension against a loop over seeds: seed-steps a second of every method on the mixture.

`python -m benchmarks.seeds` trains each method for a few steps with all seeds of params.yaml in one batch, then as many single
copies one after the other, by the same loop on the same thread count; it takes turns, so that a busy machine disturbs both
alike.
It prints a Markdown table with the median over the turns.
"""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import Any

import numpy as np
import torch

from stages import params as parameters
from stages import runtime
from stages.methods import build
from stages.mog import setting
from stages.mog.world import Points
from stages.nn.draws import TrainingDraws
from stages.nn.training import fit, random_batches
from stages.params import Params
from stages.tables import table

STEPS = 60
TURNS = 3


def seconds(params: Params, name: str, copies: int) -> float:
    """How long `STEPS` optimizer steps of so many copies take."""
    settings, train = params.method(name)
    sample, _ = setting.mixture(params.mog).sample(params.mog.train_points, np.random.default_rng(0))
    x = torch.from_numpy(sample).float()
    method = build(name, Points(copies=copies, box=setting.box(params.mog)), settings)
    generator = torch.Generator().manual_seed(0)
    batches = random_batches(x, lead=(copies,), batch_size=train.batch_size, generator=generator)
    common: dict[str, Any] = train.model_dump(exclude={"batch_size", "steps"})
    started = time.perf_counter()
    fit(
        method,
        batches,
        name=name,
        draws=TrainingDraws(generator),
        steps=STEPS,
        log_every=10 * STEPS,
        snapshots=[],
        on_snapshot=lambda step: None,
        **common,
    )
    return time.perf_counter() - started


def main() -> None:
    """Measure every method of params.yaml."""
    params = parameters.load()
    runtime.set_up_torch(params)
    rows = []
    for name in params.methods:
        seconds(params, name, 1)
        turns = []
        for _ in range(TURNS):
            together = seconds(params, name, params.seeds)
            alone = sum(seconds(params, name, 1) for _ in range(params.seeds))
            turns.append((together, alone))
        rate = params.seeds * STEPS / median(together for together, _ in turns)
        ratio = median(alone / together for together, alone in turns)
        rows.append([name, f"{rate:.0f}", f"{ratio:.1f}"])
        print(f"{name}: {ratio:.1f}", file=sys.stderr)
    print(table(["method", f"seed-steps a second, {params.seeds} seeds at once", "times as many as in a loop"], rows))


if __name__ == "__main__":
    main()
