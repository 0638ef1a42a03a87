"""Figures of studies: metrics of the cells against the params that vary."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages.plots.canvas import blank
from stages.plots.landscape import Grid, draw_density

Array = NDArray[Any]
Measured = Mapping[str, Any]
"""A metric over seeds: mean, std, values."""
MIN_GAP = 0.05
"""Smallest gap between two values, as a fraction of the axis, at which their markers do not overlap."""
WIDE_RANGE = 20.0
"""Largest over smallest positive value from which on an axis is logarithmic."""
WIDTH, WIDTH_OF_BARS = 3.2, 2.6
"""Width of a panel with lines and of one with rows, in inches."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """The cells that are drawn as one line or row.

    Args:
        label: what distinguishes them.
        colour: of the line or row.
        dash: line style.
        measured: by the title of the panel, the metric of each cell; None if a cell lacks it.
    """

    label: str
    colour: str
    dash: str = "-"
    measured: Mapping[str, Sequence[Measured | None]]


@dataclass(frozen=True, kw_only=True)
class Map:
    """The mixture of all cells, drawn beside the metrics where it is not the one of the pipeline."""

    title: str
    grid: Grid
    log_density: Array


def _figure(
    panels: int, width: float, height: float, mixture: Map | None, title: str, table: float = 0
) -> tuple[Figure, list[Axes]]:
    """A figure with `panels` axes; at their left the map of the mixture, if there is one, and a table of that width."""
    widths = [*([2.4] if mixture else []), *([table] if table else []), *[width] * panels]
    figure = blank(sum(widths) + 0.4, height)
    axes = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
    figure.suptitle(_wrapped(title, 12.5 * sum(widths)))
    if mixture:
        draw_density(axes.pop(0), mixture.grid, mixture.log_density, mixture.title)
    return figure, axes


def _wrapped(text: str, letters: float) -> str:
    """The text in lines of at most that many letters."""
    return "\n".join(textwrap.wrap(text, int(letters)))


def lines(
    x: Sequence[float], series: Sequence[Series], panels: Sequence[str], label: str, title: str, mixture: Map | None = None
) -> Figure:
    """Metrics against a numeric param, one panel per metric: mean ± std over seeds, and each seed as a dot.

    Args:
        x: values of the param. They are evenly spaced if their markers would overlap on a linear axis and the axis is not
            logarithmic.
        series: one line each, with one measured value per value of the param.
        panels: titles of the panels.
        label: the param.
        title: the finding.
        mixture: the map beside the panels.
    """
    figure, axes_of_panels = _figure(len(panels), WIDTH, 3.9, mixture, title)
    logarithmic = min(x) > 0 and max(x) / min(x) > 5
    apart = logarithmic or min(abs(np.diff(sorted(x))), default=1) > MIN_GAP * (max(x) - min(x))
    places = list(x) if apart else list(range(len(x)))
    for axes, panel in zip(axes_of_panels, panels, strict=True):
        values = []
        for one in series:
            present = {p: m for p, m in zip(places, one.measured[panel], strict=True) if m is not None}
            if not present:
                continue
            for place, measured in present.items():
                axes.plot([place] * len(measured["values"]), measured["values"], ".", ms=3, c=one.colour, alpha=0.4)
                values += measured["values"]
            mean, std = ([m[key] for m in present.values()] for key in ("mean", "std"))
            several = any(len(m["values"]) > 1 for m in present.values())
            line: dict[str, Any] = {"c": one.colour, "ls": one.dash, "capsize": 3, "lw": 1.7, "marker": "o", "ms": 4}
            axes.errorbar(list(present), mean, yerr=std if several else None, label=one.label, **line)
        if logarithmic:
            axes.set_xscale("log")
        if logarithmic or not apart:
            axes.set_xticks(places, [f"{value:g}" for value in x], minor=False)
            axes.minorticks_off()
        if values and min(values) > 0 and max(values) / min(values) > WIDE_RANGE:
            axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_title(_wrapped(panel, 11 * WIDTH))
    handles = {h.get_label(): h for axes in axes_of_panels for h in axes.get_legend_handles_labels()[0]}
    note = _note((m for one in series for values in one.measured.values() for m in values), figure)
    if len(series) > 1:
        style: dict[str, Any] = {"fontsize": 8, "title": note, "title_fontsize": 8}
        figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=min(len(series), 4), **style)
    else:
        figure.supxlabel(note, fontsize=8)
    return figure


def bars(
    series: Sequence[Series],
    panels: Sequence[str],
    title: str,
    table: Mapping[str, Sequence[str]] | None = None,
    mixture: Map | None = None,
) -> Figure:
    """Metrics of cells without a numeric axis: one row per cell and one panel per metric, mean ± std over seeds.

    Args:
        series: one row each, with one cell.
        panels: titles of the panels.
        title: the finding.
        table: heading of each column of settings to its entries, drawn instead of the labels.
        mixture: the map beside the panels.
    """
    height = max(1.9 + 0.34 * len(series), 2.9 if mixture else 0)
    labels = table or {"": [one.label for one in series]}
    margin = max(0.95 * len(labels), 0.075 * max(len(one.label) for one in series) * (not table))
    figure, axes_of_panels = _figure(len(panels), WIDTH_OF_BARS, height, mixture, title, margin)
    rows = np.arange(len(series))
    _table(axes_of_panels.pop(0), labels, len(series))
    for axes, panel in zip(axes_of_panels, panels, strict=True):
        means = []
        for row, one in enumerate(series):
            (measured,) = one.measured[panel]
            if measured:
                means.append(measured["mean"])
                _row(axes, row, measured, one.colour)
        if means and min(means) > 0 and max(means) / min(means) > WIDE_RANGE:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_ylim(len(series) - 0.5, -0.7)
        axes.set_yticks(rows, [""] * len(rows))
        axes.grid(axis="y", lw=0.3)
        axes.set_title(_wrapped(panel, 11 * WIDTH_OF_BARS))
    figure.supxlabel(_note((m for one in series for values in one.measured.values() for m in values), figure), fontsize=8)
    return figure


def _table(axes: Axes, columns: Mapping[str, Sequence[str]], rows: int) -> None:
    """Draw entries as text, aligned with the rows of the panels; one column without a heading is aligned to its right end."""
    axes.axis("off")
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(rows - 0.5, -0.7))
    labels = list(columns) == [""]
    for column, (heading, entries) in enumerate(columns.items()):
        axes.text(column, -0.75, "\n".join(textwrap.wrap(heading, 12)), ha="center", va="bottom", fontsize=8)
        for row, entry in enumerate(entries):
            axes.text(column + 0.48 * labels, row, entry, ha="right" if labels else "center", va="center", fontsize=9)


def _row(axes: Axes, row: int, measured: Measured, colour: str) -> None:
    """Draw a metric of one cell: mean ± std over seeds, and each seed as a dot below."""
    several = len(measured["values"]) > 1
    axes.errorbar(measured["mean"], row, xerr=measured["std"] if several else None, fmt="o", ms=5, c=colour, capsize=3)
    if several:
        axes.plot(measured["values"], [row + 0.27] * len(measured["values"]), ".", ms=3, c="black", alpha=0.5)


def _note(measured: Iterable[Measured | None], figure: Figure) -> str:
    """What arrows, points and error bars are, in lines that fit the figure."""
    counts = sorted({len(one["values"]) for one in measured if one})
    if counts[-1:] == [1]:
        spread = "one run per setting"
    else:
        spread = f"mean ± std over {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds; dots: seeds"
    return _wrapped(f"↑ higher is better, ↓ lower is better; {spread}", 16 * figure.get_figwidth())
