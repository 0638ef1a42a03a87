"""The report: one table of ratios, and what it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.turns import Spread
from stages.results.tables import table

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "matplotlib", "lightly", "dvc")
HEADER = ("measured", "ours", "compared with", "theirs", "ratio, median", "min", "max", "goal", "reached")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Args:
        measured: what was measured.
        ours: our figure with its unit, the median over the turns.
        compared: what it is compared with.
        theirs: its figure.
        ratio: how many times as fast ours is; None where nothing could be measured.
        goal: what the median of the ratio should reach at least, if anything.
        note: a sentence to stand below the table.
    """

    measured: str
    ours: str
    compared: str
    theirs: str
    ratio: Spread | None
    goal: float | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """The cells under `HEADER`."""
        spread = [figure(v) for v in (self.ratio.middle, self.ratio.low, self.ratio.high)] if self.ratio else ["–"] * 3
        goal = "–" if self.goal is None else f"≥ {self.goal:g}"
        reached = "–"
        if self.goal is not None and self.ratio:
            reached = "yes" if self.ratio.middle >= self.goal else "**no**"
        return [self.measured, self.ours, self.compared, self.theirs, *spread, goal, reached]


def figure(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    if seconds < 1:
        return f"{figure(1000 * seconds)} ms"
    return f"{figure(seconds)} s" if seconds < 600 else f"{figure(seconds / 60)} min"


def machine(threads: int, device: str = "the CPU", packages: Sequence[str] = PACKAGES) -> list[str]:
    """What decides seconds: processor, cores, threads, device, load and versions."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return [
        f"Processor: {_processor()}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} "
        f"cores; threads of a process: {threads}; everything on {device}",
        f"Load average at the start: {os.getloadavg()[0]:.1f}",
        f"System: {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        f"Versions: {versions}",
    ]


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def document(rows: Sequence[Row], command: str, facts: Sequence[str]) -> str:
    """The whole report as Markdown."""
    notes = [f"- *{row.measured}*: {row.note}" for row in rows if row.note]
    return "\n".join(
        [
            "# Benchmark\n",
            f"Made by `{command}`; [performance.md](performance.md) says what each row means.",
            "A ratio says how many times as fast ours is. The sides of a ratio took turns, and median, minimum and maximum are",
            "over the turns; a goal is reached where the median reaches it.\n",
            *(f"- {fact}" for fact in facts),
            "",
            table(HEADER, [row.cells() for row in rows]),
            *notes,
            "",
        ]
    )
