"""Which moments of a training or of a walk are worth keeping."""

from __future__ import annotations


def log_spaced(steps: int, count: int) -> list[int]:
    """At most `count` of the steps 0 (before the first) to `steps` (after the last), by their logarithm: most happens early.

    Always the first and the last; where two fall on one step there are fewer.
    """
    if count < 2:
        return [steps]
    return sorted({0, steps} | {round((steps + 1) ** (i / (count - 1))) - 1 for i in range(count)})
