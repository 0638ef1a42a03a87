"""Timing in turns: the sides of a ratio are measured alternately.

Other load on the machine then disturbs all sides equally. Each turn has its own ratio; the spread of the ratios shows the
uncertainty of their median.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Side = Callable[[], float]
"""Does its work once and returns the seconds per unit of work."""


@dataclass(frozen=True)
class Spread:
    """Minimum, median and maximum over the turns."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(min(values), median(values), max(values))


def take_turns(sides: Sequence[Side], turns: int) -> list[list[float]]:
    """The seconds of each side in each turn, after an untimed warm-up turn.

    Every second turn has the reverse order, so that no side always follows the same other side.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for side in sides:
        side()
    for turn in range(turns):
        order = range(len(sides)) if turn % 2 == 0 else reversed(range(len(sides)))
        for i in order:
            seconds[i].append(sides[i]())
    return seconds


def speedup(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """The speed-up of our side: the other side's seconds divided by ours, turn by turn."""
    return Spread.of([b / a for a, b in zip(ours, other, strict=True)])
