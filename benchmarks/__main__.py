"""`python -m benchmarks`: run the benchmarks, print one table, and write it to docs/benchmark.md.

All rows are measured in one run on the CPU, so that they are comparable.
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
"""The report."""
BENCHMARKS = ("training", "lightly", "tutorial", "seeds", "animation", "page", "neighbours", "pipeline", "loops")
"""Names of the benchmarks, in the order of the table."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The amount of work; steps, batches and frames are per turn."""

    turns: int
    steps: int
    batches: int
    seed_turns: int
    seed_steps: int
    frames: int
    points: int
    queries: int


FULL = Sizes(turns=7, steps=60, batches=40, seed_turns=3, seed_steps=60, frames=8, points=60_000, queries=2_000)
"""The work for the report."""
QUICK = Sizes(turns=1, steps=2, batches=1, seed_turns=1, seed_steps=1, frames=1, points=500, queries=50)
"""The work of `--quick`."""


def run_benchmarks(params: Params, sizes: Sizes, names: Iterable[str], *, cold: bool) -> tuple[list[Row], str]:
    """Run benchmarks; returns their rows, in the order of the table, and the source of the images."""
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
    for name in (name for name in BENCHMARKS if name in names):
        for row in work[name]():
            found.append(row)
            print(f"{row.measured}: {row.cells()[4]}", file=sys.stderr, flush=True)
    return found, source


def arguments(argv: list[str]) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "benchmarks", nargs="*", metavar="benchmark", help=f"benchmarks to run, of {', '.join(BENCHMARKS)}; default: all"
    )
    parser.add_argument("--quick", action="store_true", help="very few steps, to check that all runs; times are meaningless")
    parser.add_argument("--warm", action="store_true", help="skip the test suite in the benchmark `loops`")
    parser.add_argument("--threads", type=int, metavar="N", help="overrides `threads` of params.yaml")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: {OUTPUT} for a full run, else none")
    options = parser.parse_args(argv)
    unknown = set(options.benchmarks) - set(BENCHMARKS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected any of {', '.join(BENCHMARKS)}")
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads {options.threads}: expected at least 1")
    return options


def main(argv: list[str]) -> int:
    """Run the benchmarks that the command line names."""
    options = arguments(argv)
    try:
        params = parameters.load()
        if options.threads:
            params = params.model_copy(update={"threads": options.threads})
        seeding.set_up_torch(params.threads)
        import threadpoolctl

        threadpoolctl.threadpool_limits(params.threads)
        facts = machine(params.threads)
        sizes = QUICK if options.quick else FULL
        # The loops cannot be shortened.
        default = [name for name in BENCHMARKS if not (options.quick and name == "loops")]
        rows, source = run_benchmarks(params, sizes, options.benchmarks or default, cold=not options.warm)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    facts += [f"Images: {source}", f"Turns: {sizes.turns}; for the seeds: {sizes.seed_turns}"]
    if options.quick:
        facts.append("**Quick run, to check that everything runs; its times are meaningless**")
    text = document(rows, shlex.join(["python", "-m", "benchmarks", *argv]), facts)
    print(text, end="")
    output = options.output or (None if options.quick or options.benchmarks else OUTPUT)
    if output:
        files.write_text(output, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
