"""Verdicts on claims as a matrix."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
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
NOTE = "* with a qualification, which the table of claims states"
"""What the star beside an answer means."""


def matrix(methods: Mapping[str, str], verdicts: Mapping[tuple[str, str], Mapping[str, Any]], title: str) -> Figure:
    """Verdicts by method (row) and claim (column), with the literature's answer beside each mark.

    Args:
        methods: name to title of the methods.
        verdicts: for a method and a claim in words its `verdict`, a key of `VERDICTS`; the literature's answer `claimed`, which
            starts with yes or no; and whether the verdict is `narrow`.
        title: above the matrix.
    """
    claims = list(dict.fromkeys(claim for _, claim in verdicts))
    names = list(methods)
    figure = blank(1.9 + 0.5 * max(len(claims), 4), 2.9 + 0.3 * max(len(methods), 2))
    axes = figure.add_subplot()
    for (method, claim), entry in verdicts.items():
        mark, colour, _ = VERDICTS[entry["verdict"]]
        column, row = claims.index(claim), names.index(method)
        axes.plot(column - 0.16, row, ls="none", marker=mark, ms=9, c=colour, mfc="white" if entry["narrow"] else colour)
        answer, _, qualification = entry["claimed"].partition(" ")
        axes.text(column + 0.08, row, answer + "*" * bool(qualification), va="center", fontsize=7, color="#333333")
    labels = ["\n".join(textwrap.wrap(claim, 28)) for claim in claims]
    axes.set_xticks(range(len(claims)), labels, rotation=55, ha="right", rotation_mode="anchor", fontsize=7.5)
    axes.set_yticks(range(len(methods)), list(methods.values()), fontsize=8)
    axes.set_xlim(-0.6, len(claims) - 0.4)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.grid(lw=0.3)
    axes.set_axisbelow(True)
    handles: list[Any] = [Line2D([], [], ls="none", marker=m, ms=9, c=c, label=text) for m, c, text in VERDICTS.values()]
    narrow = "narrowly: within two standard errors"
    handles.append(Line2D([], [], ls="none", marker="o", ms=9, c="#666666", mfc="white", label=narrow))
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, title=NOTE, title_fontsize=8)
    figure.suptitle(title)
    return figure
