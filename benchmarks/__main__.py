"""`python -m benchmarks`: measure, print one table, and write it to docs/benchmark.md.

Everything is measured in one run on the CPU, so that all rows are of the same machine in the same hour.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import animation, lightly_step, loops, neighbours, page, pipeline, seeds, training, tutorial
from benchmarks.images import training_images
from benchmarks.report import Row, document, machine
from stages.config import params as parameters
from stages.config.params import Params
from stages.core.errors import UserError
from stages.nn.build import configured
from stages.pipeline import files, seeding

OUTPUT = Path("docs/benchmark.md")
SUBJECTS = ("training", "lightly", "tutorial", "seeds", "animation", "page", "neighbours", "pipeline", "loops")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each is done; steps, batches and frames are those of one turn."""

    turns: int
    steps: int
    batches: int
    seed_turns: int
    seed_steps: int
    frames: int
    points: int
    queries: int


FULL = Sizes(turns=7, steps=60, batches=40, seed_turns=3, seed_steps=60, frames=8, points=60_000, queries=2_000)
QUICK = Sizes(turns=1, steps=2, batches=1, seed_turns=1, seed_steps=1, frames=1, points=500, queries=50)


def measured(params: Params, sizes: Sizes, subjects: Iterable[str], *, cold: bool) -> tuple[list[Row], str]:
    """The rows of the subjects in the table's order, and a word on the images."""
    images, source = training_images(params)
    dim = configured(params, f"mnist_{training.NAME}")[0]["encoder"]["dim"]
    work: dict[str, Callable[[], Iterable[Row]]] = {
        "training": lambda: training.rows(params, images, steps=sizes.steps, turns=sizes.turns),
        "lightly": lambda: lightly_step.rows(params, images, steps=sizes.steps, batches=sizes.batches, turns=sizes.turns),
        "tutorial": lambda: tutorial.rows(params, images, steps=sizes.steps, batches=sizes.batches, turns=sizes.turns),
        "seeds": lambda: seeds.rows(params, params.methods, steps=sizes.seed_steps, turns=sizes.seed_turns),
        "animation": lambda: animation.rows(params, frames=sizes.frames, turns=sizes.turns),
        "page": lambda: page.rows(params, redraws=sizes.frames * 10, turns=sizes.turns),
        "neighbours": lambda: neighbours.rows(
            points=sizes.points,
            dim=dim,
            queries=sizes.queries,
            neighbours=params.mnist.evaluation.neighbours,
            turns=sizes.turns,
        ),
        "pipeline": lambda: pipeline.rows(turns=sizes.turns),
        "loops": lambda: loops.rows(turns=sizes.turns, cold=cold),
    }
    found: list[Row] = []
    for name in (name for name in SUBJECTS if name in subjects):
        for row in work[name]():
            found.append(row)
            print(f"{row.measured}: {row.cells()[4]}", file=sys.stderr, flush=True)
    return found, source


def arguments(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="subject", help=f"which of {', '.join(SUBJECTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="very few steps: shows that it runs, the figures mean nothing")
    parser.add_argument("--warm", action="store_true", help="do not run the tests at both commits as well")
    parser.add_argument("--threads", type=int, metavar="N", help="instead of `threads` in params.yaml")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"{OUTPUT} by default, nothing if not all is measured")
    wishes = parser.parse_args(words)
    unknown = set(wishes.subjects) - set(SUBJECTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected any of {', '.join(SUBJECTS)}")
    if wishes.threads is not None and wishes.threads < 1:
        parser.error(f"--threads {wishes.threads}: expected at least 1")
    return wishes


def main(words: list[str]) -> int:
    """Measure what the command line says."""
    wishes = arguments(words)
    try:
        params = parameters.load()
        if wishes.threads:
            params = params.model_copy(update={"threads": wishes.threads})
        seeding.set_up_torch(params.threads)
        import threadpoolctl

        threadpoolctl.threadpool_limits(params.threads)
        facts = machine(params.threads)
        sizes = QUICK if wishes.quick else FULL
        # A loop takes as long as it takes.
        usual = [subject for subject in SUBJECTS if not (wishes.quick and subject == "loops")]
        rows, source = measured(params, sizes, wishes.subjects or usual, cold=not wishes.warm)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    facts += [f"Images: {source}", f"Turns: {sizes.turns}, of the seeds {sizes.seed_turns}"]
    if wishes.quick:
        facts.append("**A quick run: it shows that everything runs, its figures mean nothing**")
    text = document(rows, shlex.join(["python", "-m", "benchmarks", *words]), facts)
    print(text, end="")
    output = wishes.output or (None if wishes.quick or wishes.subjects else OUTPUT)
    if output:
        files.write_text(output, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
