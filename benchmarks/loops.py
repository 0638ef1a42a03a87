"""The loops of somebody who works with the project, each beside what it took at an earlier commit.

Both sides are clones in a temporary folder, with the same Python and the same packages, run one after the other in turns. What
takes many minutes, the cold run and the tests, is run once on each side; `--warm` leaves the tests out. What a side does in the
background has ended before the other one's turn, and is part of the cold run's time.
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
"""The commit before the pipeline had its cores to itself, folders as dependencies and its tracking in the background."""
GOALS = {"exp": 3.0, "status": 3.0, "repro": 3.0, "cold": 2.5, "tests": 2.0}
BOUND = r"(metric: score\.relative_fisher_error\s+below: )[\d.]+"
"""A threshold of a claim, as both commits have it in their files."""
THRESHOLD = 15.0
"""Seconds within which a changed threshold has to be on the page."""


@dataclass
class Clone:
    """One side: a clone of a commit.

    Args:
        folder: where it lies.
        cold: the commands that run everything anew and log it.
        claims: the file that has the thresholds of the claims.
        rest: a command that does now what the others leave to the background, if they do.
    """

    folder: Path
    cold: tuple[tuple[str, ...], ...]
    claims: str
    rest: tuple[str, ...] = ()

    def run(self, *words: str) -> float:
        """The seconds that a command takes.

        Raises:
            UserError: it failed.
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

    def alone(self, *words: str) -> float:
        """The same; what it leaves to the background has ended afterwards."""
        seconds = self.run(*words)
        if self.rest:
            self.run(*self.rest)
        return seconds

    def experiment(self) -> Callable[[], float]:
        """Runs an experiment with a value of σ that was not run before."""
        values = iter(range(1, 1000))
        return lambda: self.alone("dvc", "exp", "run", "--set-param", f"dsm.sigma={0.4 + next(values) / 1000:g}")

    def threshold(self) -> Callable[[], float]:
        """Changes the threshold of a claim and has everything follow."""
        values = iter(range(1, 1000))
        path = self.folder / self.claims

        def change() -> float:
            text = path.read_text(encoding="utf-8")
            changed, found = re.subn(BOUND, rf"\g<1>{0.1 + next(values) / 10000:g}", text, count=1)
            if not found:
                raise UserError(f"{path.name} has no threshold of score.relative_fisher_error")
            path.write_text(changed, encoding="utf-8")
            return self.alone("dvc", "repro")

        return change


def clone(commit: str, folder: Path) -> Path:
    """A clone of a commit with a cache of its own."""
    output("git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder))
    output("git", "-C", str(folder), "-c", "advice.detachedHead=false", "checkout", "--quiet", commit)
    for name in ("user.name", "user.email"):
        output("git", "-C", str(folder), "config", name, "benchmark")
    lend_environment(folder)
    return folder


def lend_environment(folder: Path) -> None:
    """Give a clone the packages of this Python, as if `make` had installed them there."""
    lent = folder / ".venv"
    lent.mkdir()
    for part in Path(sys.prefix).iterdir():
        if not part.name.startswith("."):
            (lent / part.name).symlink_to(part)
    for stamp in (".pipeline", ".development"):
        (lent / stamp).touch()


def rows(*, turns: int, cold: bool) -> Iterator[Row]:
    """The rows of all loops, the quick ones first."""
    here = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()
    with tempfile.TemporaryDirectory(prefix="loops-", dir=os.environ.get("TMPDIR")) as name:
        place = Path(name)
        anew = ("--force", "--no-run-cache")
        track = (sys.executable, "-m", "stages.track")
        parallel = (sys.executable, "-m", "stages.tools.parallel", *anew)
        ours = Clone(clone(here, place / "ours"), (parallel, track), "claims.yaml", rest=track)
        theirs = Clone(clone(BEFORE, place / "theirs"), (("dvc", "repro", *anew),), "params.yaml")
        if cold:
            # Tests that fail took their time all the same.
            tests = [side.run("sh", "-c", "make test > tests.log 2>&1; grep ' passed' tests.log") for side in (theirs, ours)]
            yield _row("make test", [tests[1]], [tests[0]], GOALS["tests"])
        # What neither side has is made first, which is the cold run.
        seconds = [sum(side.run(*command) for command in side.cold) for side in (theirs, ours)]
        work, wall = costs(ours.folder), seconds[1]
        yield _row(
            "everything, cold",
            [wall],
            [seconds[0]],
            GOALS["cold"],
            f"{duration(work)} of a processor's time inside the {len(list(_costs(ours.folder)))} stages, which is "
            f"{100 * work / wall / cores():.0f} % of what {cores()} cores have in that time; one run of each.",
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
            side.alone("dvc", "repro")
        taken = take_turns([ours.threshold(), theirs.threshold()], max(turns // 2, 1))
        row = _row("a claim's threshold changed, to the new page", taken[0], taken[1], None)
        yield row
        yield Row(
            measured=row.measured,
            ours=row.ours,
            compared="the bound",
            theirs=duration(THRESHOLD),
            ratio=speedup(taken[0], [THRESHOLD] * len(taken[0])),
            goal=1,
        )


def costs(folder: Path) -> float:
    """The processor's seconds within all stages of the last run, after their imports."""
    return sum(json.loads(file.read_text(encoding="utf-8"))["cpu_seconds"] for file in _costs(folder))


def _costs(folder: Path) -> Iterator[Path]:
    return (file for file in sorted((folder / COSTS).glob("*.json")))


def _row(measured: str, ours: list[float], theirs: list[float], goal: float | None, note: str = "") -> Row:
    ratio = speedup(ours, theirs) if len(ours) > 1 else Spread.of([theirs[0] / ours[0]])
    return Row(
        measured=measured,
        ours=duration(median(ours)),
        compared=f"the same at {BEFORE}",
        theirs=duration(median(theirs)),
        ratio=ratio,
        goal=goal,
        note=note,
    )
