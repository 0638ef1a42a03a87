"""What DVC and the start of a process take: `dvc status` and `dvc repro` with nothing to do, imports, and a cold run.

The other side of each ratio is the part that the first cannot do without, so the ratio is the share of that part: importing DVC
for a DVC command, importing torch or matplotlib for a stage, the interpreter for a package.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.report import Row, duration
from benchmarks.turns import Side, Spread, speedup, take_turns
from stages.errors import UserError
from stages.lock import entries
from stages.params import FILE
from stages.runtime import COSTS

DVC = (sys.executable, "-m", "dvc")
LOAD_DVC = "import dvc.cli, dvc.repo, dvc.commands.repro, dvc.utils.serialize"
IMPORTS = (
    # what starts, what of it is a package, the names of both
    ("import stages.mnist.train", "import torch", "start of a training stage", "import of torch"),
    ("import stages.mog.figures", "import matplotlib.figure", "start of a figure stage", "import of matplotlib"),
    ("import torch", "pass", "import of torch", "interpreter"),
    ("import matplotlib.figure", "pass", "import of matplotlib", "interpreter"),
    ("import sklearn.neighbors", "pass", "import of scikit-learn", "interpreter"),
)


def rows(*, turns: int, cold: bool) -> list[Row]:
    """The rows of the pipeline; `cold` runs all of it in a fresh clone, which takes as long as `make repro`."""
    starts = dict.fromkeys(code for entry in IMPORTS for code in entry[:2])
    seconds = dict(zip(starts, take_turns([_python(code) for code in starts], turns), strict=True))
    return [
        *nothing_to_do(turns),
        *(_row(name, seconds[code], f"{part_name} alone", seconds[part]) for code, part, name, part_name in IMPORTS),
        cold_run() if cold else last_run(),
    ]


def nothing_to_do(turns: int) -> list[Row]:
    """`dvc status` and `dvc repro` in the working directory, where all stages have to be up to date.

    DVC reads params.yaml anew for each stage, so that is the second thing that both are compared with.
    """
    commands = ("status", "repro")
    # `dvc repro` would run what is not up to date, for as long as that takes.
    if subprocess.run([*DVC, "status", "--quiet"], capture_output=True, check=False).returncode:
        why = "not measured: the pipeline is not up to date here, `dvc repro` first"
        return [Row(measured=f"dvc {name}, no-op", ours=why, compared="–", theirs="–", ratio=None) for name in commands]
    stages = len(entries())
    read = f"{LOAD_DVC}\nfor _ in range({stages}): dvc.utils.serialize.load_yaml({str(FILE)!r})"
    sides = [_python(LOAD_DVC), _python(read), *(_command(*DVC, name) for name in commands)]
    load, load_and_read, *taken = take_turns(sides, turns)
    parts = {"importing DVC alone": load, f"importing DVC, and reading {FILE} {stages} times by it": load_and_read}
    return [
        _row(f"dvc {name}, no-op", s, compared, part)
        for name, s in zip(commands, taken, strict=True)
        for compared, part in parts.items()
    ]


def _row(measured: str, ours: list[float], compared: str, theirs: list[float]) -> Row:
    return Row(
        measured=measured,
        ours=duration(median(ours)),
        compared=compared,
        theirs=duration(median(theirs)),
        ratio=speedup(ours, theirs),
    )


def _command(*words: str) -> Side:
    """Seconds that a command takes, which has to succeed."""

    def measure() -> float:
        started = time.perf_counter()
        subprocess.run(words, capture_output=True, check=True)
        return time.perf_counter() - started

    return measure


def _python(code: str) -> Side:
    return _command(sys.executable, "-c", code)


def costs(folder: Path) -> list[float]:
    """The seconds that each stage of the last run took within itself, after its imports."""
    files = sorted((folder / COSTS).glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8"))["seconds"] for file in files]


def last_run() -> Row:
    """What the costs of the last run say: without its wall time there is no ratio."""
    inside = costs(Path())
    known = f"{duration(sum(inside))} inside the {len(inside)} stages of the last run" if inside else f"nothing in {COSTS}"
    return Row(
        measured="dvc repro, cold",
        ours="not run, because of `--warm`",
        compared=f"work inside the stages ({COSTS})",
        theirs=known,
        ratio=None,
    )


def cold_run() -> Row:
    """The whole pipeline from nothing, in a fresh clone of the last commit."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        _run(("git", "clone", "--quiet", ".", str(clone)), Path(), environment)
        started = time.perf_counter()
        _run((*DVC, "repro", "--force", "--no-run-cache"), clone, environment)
        wall, inside = time.perf_counter() - started, costs(clone)
    return cold_row(wall, inside)


def _run(words: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    """Run a command whose output goes to stderr.

    Raises:
        UserError: it failed.
    """
    done = subprocess.run(words, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(words)} ended with status {done.returncode}")


def cold_row(wall: float, inside: Sequence[float]) -> Row:
    """The row of a cold run: the share of its wall time that the stages work, and what is left for each stage."""
    share = sum(inside) / wall
    start = (wall - sum(inside)) / max(len(inside), 1)
    return Row(
        measured=f"dvc repro, cold, {len(inside)} stages",
        ours=duration(wall),
        compared=f"work inside the stages ({COSTS})",
        theirs=duration(sum(inside)),
        ratio=Spread.of([share]),
        note=f"{duration(start)} a stage are interpreter, imports and DVC, {100 * (1 - share):.0f} % of the whole; one run.",
    )
