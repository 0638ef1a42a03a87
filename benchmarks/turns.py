"""Taking turns: the sides of a ratio are measured one after the other, again and again.

What else runs on the machine then disturbs all sides alike, and each turn has a ratio of its own, so that the spread of the
ratios says how much a figure can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

Side = Callable[[], float]
"""Does its work once and returns how many seconds a unit of it took."""


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
    """The seconds of every side in every turn, after one turn that is not measured.

    Every second turn goes through the sides backwards, so that none is always the one that comes after a certain other.
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
    """How many times as fast the first is: the other's seconds divided by ours, turn by turn."""
    return Spread.of([b / a for a, b in zip(ours, other, strict=True)])
