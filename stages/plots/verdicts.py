"""Verdicts on claims as a matrix."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.plots.canvas import blank
from stages.plots.colours import ACCENT

VERDICTS: Mapping[str, tuple[str, str, str]] = {
    "holds": ("o", "#0072b2", "measurement and literature agree"),
    "fails": ("X", ACCENT, "they disagree"),
    "not applicable": ("_", "#aaaaaa", "not applicable"),
}
"""Marker, colour and meaning of each verdict; the markers alone distinguish them."""
ANSWERS = {True: "yes", False: "no"}
"""What the literature says."""


def matrix(
    methods: Sequence[str], claims: Sequence[str], verdicts: Mapping[tuple[str, str], tuple[str, str]], title: str
) -> Figure:
    """Verdicts by method (row) and claim (column), with the literature's answer beside each mark.

    Args:
        methods: titles of the methods.
        claims: the claims in words.
        verdicts: for a method and a claim the verdict, a key of `VERDICTS`, and the literature's answer, yes or no.
        title: above the matrix.
    """
    figure = blank(1.9 + 0.5 * max(len(claims), 4), 2.7 + 0.3 * max(len(methods), 2))
    axes = figure.add_subplot()
    for (method, claim), (verdict, answer) in verdicts.items():
        mark, colour, _ = VERDICTS[verdict]
        column, row = claims.index(claim), methods.index(method)
        axes.plot(column - 0.16, row, ls="none", marker=mark, ms=9, c=colour)
        axes.text(column + 0.08, row, answer, va="center", fontsize=7, color="#333333")
    labels = ["\n".join(textwrap.wrap(claim, 28)) for claim in claims]
    axes.set_xticks(range(len(claims)), labels, rotation=55, ha="right", rotation_mode="anchor", fontsize=7.5)
    axes.set_yticks(range(len(methods)), methods, fontsize=8)
    axes.set_xlim(-0.6, len(claims) - 0.4)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.grid(lw=0.3)
    axes.set_axisbelow(True)
    handles: list[Any] = [Line2D([], [], ls="none", marker=m, ms=9, c=c, label=text) for m, c, text in VERDICTS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(title)
    return figure
