"""Edit-run loops of a developer (no-op, experiment, cold run, tests, …), compared with an earlier commit.

Both sides are clones in a temporary folder, with the same Python and packages, and take turns. The cold run and the tests take
many minutes and run once per side; `--warm` skips the tests. Background work of a side ends before the other side's turn; the
time of the cold run includes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.report import Row, duration
from benchmarks.turns import Spread, speedup, take_turns
from stages.core.command import environment, output
from stages.core.errors import UserError
from stages.core.paths import COSTS, ROOT
from stages.pipeline.concurrent import cores

BEFORE = "d1c4788"
"""The commit before the pipeline's own scheduler, folders as dependencies and tracking in the background."""
GOALS = {"exp": 3.0, "status": 3.0, "repro": 3.0, "cold": 2.5, "tests": 2.0}
"""Goals of the ratios."""
THRESHOLD = r"(metric: score\.relative_fisher_error\s+below: )[\d.]+"
"""Matches a claim's threshold in the files of both commits."""
TIME_LIMIT = 15.0
"""Seconds within which a changed threshold should appear on the page."""


@dataclass
class Clone:
    """One side: a clone of a commit.

    Args:
        folder: path of the clone.
        cold: commands of a cold run, including its tracking.
        claims: file with the claims' thresholds.
        rest: command that completes the work which the other commands leave to the background, if any.
    """

    folder: Path
    cold: tuple[tuple[str, ...], ...]
    claims: str
    rest: tuple[str, ...] = ()

    def run(self, *words: str) -> float:
        """Run a command in the clone; returns its seconds.

        Raises:
            UserError: the command failed.
        """
        where = environment(OMP_WAIT_POLICY="PASSIVE", PYTHONDONTWRITEBYTECODE="1")
        started = time.perf_counter()
        done = subprocess.run(words, cwd=self.folder, env=where, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise UserError(
                f"{' '.join(words)} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
            )
        return seconds

    def run_to_end(self, *words: str) -> float:
        """Run a command, then complete its background work; returns the seconds of the command."""
        seconds = self.run(*words)
        if self.rest:
            self.run(*self.rest)
        return seconds

    def experiment(self) -> Callable[[], float]:
        """A side that runs an experiment with a new value of σ each time."""
        values = iter(range(1, 1000))
        return lambda: self.run_to_end("dvc", "exp", "run", "--set-param", f"dsm.sigma={0.4 + next(values) / 1000:g}")

    def threshold(self) -> Callable[[], float]:
        """A side that changes a claim's threshold and reproduces the pipeline."""
        values = iter(range(1, 1000))
        path = self.folder / self.claims

        def change() -> float:
            text = path.read_text(encoding="utf-8")
            changed, found = re.subn(THRESHOLD, rf"\g<1>{0.1 + next(values) / 10000:g}", text, count=1)
            if not found:
                raise UserError(f"{path.name} has no threshold of score.relative_fisher_error")
            path.write_text(changed, encoding="utf-8")
            return self.run_to_end("dvc", "repro")

        return change


def clone(commit: str, folder: Path) -> Path:
    """Clone a commit; the clone has its own DVC cache."""
    output("git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    output("git", "-C", str(folder), "-c", "advice.detachedHead=false", "checkout", "--quiet", commit)
    for name in ("user.name", "user.email"):
        output("git", "-C", str(folder), "config", name, "benchmark")
    link_environment(folder)
    return folder


def link_environment(folder: Path) -> None:
    """Link this Python's packages into a clone, as if `make` had installed them there."""
    linked = folder / ".venv"
    linked.mkdir()
    for part in Path(sys.prefix).iterdir():
        if not part.name.startswith("."):
            (linked / part.name).symlink_to(part)
    for stamp in (".pipeline", ".development"):
        (linked / stamp).touch()


def rows(*, turns: int, cold: bool) -> Iterator[Row]:
    """The rows of all loops; `cold`: including the tests."""
    here = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()
    with tempfile.TemporaryDirectory(prefix="loops-", dir=os.environ.get("TMPDIR")) as name:
        place = Path(name)
        force = ("--force", "--no-run-cache")
        track = (sys.executable, "-m", "stages.track")
        parallel = (sys.executable, "-m", "stages.tools.parallel", *force)
        ours = Clone(clone(here, place / "ours"), (parallel, track), "claims.yaml", rest=track)
        theirs = Clone(clone(BEFORE, place / "theirs"), (("dvc", "repro", *force),), "params.yaml")
        if cold:
            # Failed tests do not fail the benchmark: their time counts.
            tests = [side.run("sh", "-c", "make test > tests.log 2>&1; grep ' passed' tests.log") for side in (theirs, ours)]
            yield _row("make test", [tests[1]], [tests[0]], GOALS["tests"])
        # The cold run comes first, since the other loops need its outputs.
        seconds = [sum(side.run(*command) for command in side.cold) for side in (theirs, ours)]
        work, wall = costs(ours.folder), seconds[1]
        yield _row(
            "cold run of all stages",
            [wall],
            [seconds[0]],
            GOALS["cold"],
            f"the {len(list(_costs(ours.folder)))} stages take {duration(work)} of CPU time, "
            f"{100 * work / wall / cores():.0f} % of the time of {cores()} cores; one run per side.",
        )
        for side in (ours, theirs):
            side.run("git", "add", "--all")
            side.run("git", "commit", "--quiet", "--allow-empty", "--message=results")
        for words, goal in ((("dvc", "status"), GOALS["status"]), (("dvc", "repro"), GOALS["repro"])):
            taken = take_turns([partial(side.run, *words) for side in (ours, theirs)], turns)
            yield _row(f"{' '.join(words)}, nothing to do", taken[0], taken[1], goal)
        taken = take_turns([ours.experiment(), theirs.experiment()], max(turns // 2, 1))
        yield _row("dvc exp run -S dsm.sigma=…, a new value", taken[0], taken[1], GOALS["exp"])
        for side in (ours, theirs):
            side.run("git", "checkout", "--quiet", "--", ".")
            side.run_to_end("dvc", "repro")
        taken = take_turns([ours.threshold(), theirs.threshold()], max(turns // 2, 1))
        row = _row("from a claim's changed threshold to the new page", taken[0], taken[1], None)
        yield row
        yield Row(
            measured=row.measured,
            ours=row.ours,
            compared="the time limit",
            theirs=duration(TIME_LIMIT),
            ratio=speedup(taken[0], [TIME_LIMIT] * len(taken[0])),
            goal=1,
        )


def costs(folder: Path) -> float:
    """CPU seconds of all stages of the last run, without their imports."""
    return sum(json.loads(file.read_text(encoding="utf-8"))["cpu_seconds"] for file in _costs(folder))


def _costs(folder: Path) -> Iterator[Path]:
    return (file for file in sorted((folder / COSTS).glob("*.json")))


def _row(measured: str, ours: list[float], theirs: list[float], goal: float | None, note: str = "") -> Row:
    ratio = speedup(ours, theirs) if len(ours) > 1 else Spread.of([theirs[0] / ours[0]])
    return Row(
        measured=measured,
        ours=duration(median(ours)),
        compared=f"commit {BEFORE}",
        theirs=duration(median(theirs)),
        ratio=ratio,
        goal=goal,
        note=note,
    )
