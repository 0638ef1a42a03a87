"""What DVC and the start of a process take: `dvc status` and `dvc repro` with nothing to do, and imports.

The other side of each ratio is the part that the first cannot do without, so the ratio is the share of that part: importing DVC
for a DVC command, importing torch or matplotlib for a stage, the interpreter for a package.
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
LOAD_DVC = "import dvc.cli, dvc.repo, dvc.commands.repro, dvc.utils.serialize"
IMPORTS = (
    # what starts, what of it is a package, the names of both
    ("import stages.mnist.train", "import torch", "start of a training stage", "import of torch"),
    ("import stages.mog.figures", "import matplotlib.figure", "start of a figure stage", "import of matplotlib"),
    ("import torch", "pass", "import of torch", "interpreter"),
    ("import matplotlib.figure", "pass", "import of matplotlib", "interpreter"),
    ("import sklearn.neighbors", "pass", "import of scikit-learn", "interpreter"),
)


def rows(*, turns: int) -> list[Row]:
    """The rows of the pipeline."""
    starts = dict.fromkeys(code for entry in IMPORTS for code in entry[:2])
    seconds = dict(zip(starts, take_turns([_python(code) for code in starts], turns), strict=True))
    return [
        *nothing_to_do(turns),
        *(_row(name, seconds[code], f"{part_name} alone", seconds[part]) for code, part, name, part_name in IMPORTS),
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
    read = f"{LOAD_DVC}\nfor _ in range({stages}): dvc.utils.serialize.load_yaml({str(PARAMS)!r})"
    sides = [_python(LOAD_DVC), _python(read), *(_command(*DVC, name) for name in commands)]
    load, load_and_read, *taken = take_turns(sides, turns)
    parts = {"importing DVC alone": load, f"importing DVC, and reading {PARAMS} {stages} times by it": load_and_read}
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
