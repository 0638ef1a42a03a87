"""Overhead of DVC and of starting a process: no-op `dvc status` and `dvc repro`, and imports.

Each is compared with its unavoidable part, so the ratio is that part's share of the time: importing DVC for a DVC command,
importing torch or matplotlib for a stage, starting the interpreter for a package.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from benchmarks.report import Row, duration
from benchmarks.turns import Side, speedup, take_turns
from stages.core.paths import PARAMS
from stages.dag.lock import entries

DVC = (sys.executable, "-m", "dvc")
"""The DVC command."""
LOAD_DVC = "import dvc.cli, dvc.repo, dvc.commands.repro, dvc.utils.serialize"
"""Code that imports DVC as its commands do."""
IMPORTS = (
    ("import stages.mnist.train", "import torch", "start of a training stage", "import of torch"),
    ("import stages.mog.figures", "import matplotlib.figure", "start of a figure stage", "import of matplotlib"),
    ("import torch", "pass", "import of torch", "interpreter"),
    ("import matplotlib.figure", "pass", "import of matplotlib", "interpreter"),
    ("import sklearn.neighbors", "pass", "import of scikit-learn", "interpreter"),
)
"""Code to time, the code of its unavoidable part, and the names of both."""


def rows(*, turns: int) -> list[Row]:
    """The rows of the pipeline."""
    starts = dict.fromkeys(code for entry in IMPORTS for code in entry[:2])
    seconds = dict(zip(starts, take_turns([_python(code) for code in starts], turns), strict=True))
    return [
        *nothing_to_do(turns),
        *(_row(name, seconds[code], f"{part_name} alone", seconds[part]) for code, part, name, part_name in IMPORTS),
    ]


def nothing_to_do(turns: int) -> list[Row]:
    """The rows of `dvc status` and `dvc repro` in the working directory, in which all stages must be up to date.

    DVC parses params.yaml once per stage; a second comparison includes this.
    """
    commands = ("status", "repro")
    # `dvc repro` would run stages that are not up to date, however long they take.
    if subprocess.run([*DVC, "status", "--quiet"], capture_output=True, check=False).returncode:
        why = "not measured: the pipeline is not up to date, run `dvc repro` first"
        return [Row(measured=f"dvc {name}, no-op", ours=why, compared="–", theirs="–", ratio=None) for name in commands]
    stages = len(entries())
    read = f"{LOAD_DVC}\nfor _ in range({stages}): dvc.utils.serialize.load_yaml({str(PARAMS)!r})"
    sides = [_python(LOAD_DVC), _python(read), *(_command(*DVC, name) for name in commands)]
    load, load_and_read, *taken = take_turns(sides, turns)
    parts = {"importing DVC alone": load, f"importing DVC and parsing {PARAMS} {stages} times": load_and_read}
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
    """A side that runs a command; a command that fails raises an error."""

    def measure() -> float:
        started = time.perf_counter()
        subprocess.run(words, capture_output=True, check=True)
        return time.perf_counter() - started

    return measure


def _python(code: str) -> Side:
    return _command(sys.executable, "-c", code)
