"""Metrics as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

MOST_PLACES = 5
"""Largest number of decimal places."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def cell(value: Any) -> str:
    """A metric as `mean ± std`, with enough decimal places to show a deviation that is not zero; `–` for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.4g}"
    mean, std = value["mean"], value["std"]
    if len(value["values"]) == 1:
        return f"{mean:.4g}"
    if abs(mean) < 1e-3 or abs(mean) >= 1e4:
        return f"{mean:.1e} ± {std:.0e}"
    places = 3 if abs(mean) < 10 else 1
    if std > 0:
        places = max(places, min(math.ceil(-math.log10(std)), MOST_PLACES))
    return f"{mean:.{places}f} ± {std:.{places}f}"
