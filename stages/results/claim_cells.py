"""Verdicts on claims as the cells of tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.results.verdicts import MARKS

Entry = Mapping[str, Any]
"""A decided claim, as in reports/claims.json."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "in-batch negatives": ("in_batch_negatives",),
    "learns score": ("learns_score",),
    "samples": ("samples",),
    "global structure": ("global_structure", "global_distances", "mixing_weights", "stabler"),
    "masked prediction": ("masked_prediction",),
}
"""The columns of the overview and the claims in each, of which a method has one or more."""
HEADING = ("literature says", "measured", "criterion", "agree?")
"""The columns of `row`."""


def in_short(entry: Entry, link: str = "") -> str:
    """The literature's answer, marked ✓ if the measurement agrees and ✗ if it does not; `link` is the verdict's picture."""
    mark = MARKS[entry["verdict"]]
    if entry["mean"] is not None and link:
        mark = f"[{mark}]({link})"
    return f"{entry['claimed']} {mark}{' narrowly' if entry['narrow'] else ''}"


def columns(claims: Mapping[str, Entry], *, links: bool = False) -> list[str]:
    """The cells of the overview for the claims about one method."""
    found = ([claims[name] for name in names if name in claims] for names in COLUMNS.values())
    return ["; ".join(in_short(one, one["figure"] if links else "") for one in entries) or "–" for entries in found]


def row(entry: Entry) -> list[str]:
    """The literature's answer and paper, the measured value, the criterion, and whether both agree, linked to the picture."""
    paper = entry["paper"]
    source = f"[{paper['cite']}]({paper['url']})" if paper else "expected; no paper"
    said = f"{entry['claimed']} ({source})"
    if entry["mean"] is None:
        return [said, "–", "–", "not applicable"]
    measured = f"{entry['mean']:.3g} ± {entry['std']:.2g}" if entry["std"] else f"{entry['mean']:.3g}"
    agree = "**no**" if entry["verdict"] == "fails" else "yes"
    verdict = f"[{agree}]({entry['figure']}){', narrowly' if entry['narrow'] else ''}"
    return [said, measured, f"{entry['metric']} {entry['direction']} {entry['threshold']:g}", verdict]
