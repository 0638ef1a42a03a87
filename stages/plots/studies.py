"""Figures of studies: metrics of the cells against the params that vary."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.plots.canvas import ACCENT, blank

SERIES = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9")
"""Line colours of methods, after the accent colour."""
VERDICTS = {"holds": ("o", "#0072b2"), "fails": ("X", ACCENT), "not applicable": ("_", "#aaaaaa")}
"""Marker and colour of each verdict; the markers alone distinguish them."""
Measured = Mapping[str, Any]
"""A metric over seeds: mean, std, values."""
MIN_GAP = 0.05
"""Smallest gap between two values, as a fraction of the axis, at which their markers do not overlap."""
PANELS_PER_ROW = 8
"""Most panels in a row."""


def short(names: Sequence[str]) -> dict[str, str]:
    """Map each dotted name to the shortest suffix that is unique and starts with a letter, or to all of it."""
    shortest = {}
    for name in names:
        parts = name.split(".")
        tails = (parts[-length:] for length in range(1, len(parts) + 1) if parts[-length][:1].isalpha())
        unique = (tail for tail in tails if sum(other.split(".")[-len(tail) :] == tail for other in names) == 1)
        shortest[name] = " ".join(next(unique, parts)).replace("_", " ")
    return shortest


def lines(x: Sequence[float], metrics: Mapping[str, Mapping[str, Sequence[Measured | None]]], label: str, title: str) -> Figure:
    """Metrics against a numeric param, one panel per metric: mean ± std over seeds, and each seed as a dot.

    Args:
        x: values of the param. They are evenly spaced if their markers would overlap on a linear axis and the axis is not
            logarithmic.
        metrics: metric and method to one measured value per value of the param; None if the cell lacks the metric.
        label: the param.
        title: above the panels.
    """
    figure = blank(3.2 * len(metrics), 3.2)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    names = list(next(iter(metrics.values())))
    titles, logarithmic = short(list(metrics)), min(x) > 0 and max(x) / min(x) > 5
    apart = logarithmic or min(abs(np.diff(sorted(x))), default=1) > MIN_GAP * (max(x) - min(x))
    places = list(x) if apart else list(range(len(x)))
    for axes, (name, methods) in zip(panels, metrics.items(), strict=True):
        values = []
        for (method, measured), colour in zip(methods.items(), itertools.cycle((ACCENT, *SERIES)), strict=False):
            present = {place: one for place, one in zip(places, measured, strict=True) if one is not None}
            for place, one in present.items():
                axes.plot([place] * len(one["values"]), one["values"], ".", ms=3, c=colour, alpha=0.4)
                values += one["values"]
            mean, std = ([one[key] for one in present.values()] for key in ("mean", "std"))
            several = any(len(one["values"]) > 1 for one in present.values())
            axes.errorbar(list(present), mean, yerr=std if several else None, c=colour, capsize=3, lw=1.5, label=method)
        if logarithmic:
            axes.set_xscale("log")
        if logarithmic or not apart:
            axes.set_xticks(places, [f"{value:g}" for value in x], minor=False)
            axes.minorticks_off()
        if min(values) > 0 and max(values) / min(values) > 20:
            axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_title(titles[name], fontsize=9)
    if len(names) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(names), fontsize=7, frameon=False)
    figure.suptitle(f"{title}{'' if len(names) > 1 else f': {names[0]}'}{_spread(metrics.values())}", fontsize=9)
    return figure


def verdicts(cells: Mapping[str, Mapping[str, str]], metrics: Mapping[str, Sequence[Measured | None]], title: str) -> Figure:
    """Verdicts by cell (row) and claim (column), with panels of metrics beside them.

    Args:
        cells: label of the cell and name of the claim to its verdict.
        metrics: name to one measured value per cell; None if the cell lacks the metric.
        title: above the grid.
    """
    claims = list(dict.fromkeys(name for found in cells.values() for name in found))
    wide = [0.42 * len(claims), *[1.8] * len(metrics)]
    figure = blank(2.2 + sum(wide), 2.2 + 0.26 * len(cells))
    axes, *others = figure.subplots(1, len(wide), sharey=True, width_ratios=wide, squeeze=False)[0]
    for row, found in enumerate(cells.values()):
        for name, verdict in found.items():
            mark, colour = VERDICTS[verdict]
            axes.plot(claims.index(name), row, ls="none", marker=mark, ms=9, c=colour)
    for verdict, (mark, colour) in VERDICTS.items():
        axes.plot([], [], ls="none", marker=mark, ms=9, c=colour, label=verdict)
    axes.set_xticks(range(len(claims)), [name.replace("_", " ") for name in claims], rotation=50, ha="right", fontsize=7)
    axes.set_yticks(range(len(cells)), list(cells), fontsize=7)
    axes.set_xlim(-0.6, len(claims) - 0.4)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    titles = short(list(metrics))
    for panel, (name, measured) in zip(others, metrics.items(), strict=True):
        _rows(panel, titles[name], measured)
        panel.axvline(0, lw=0.8, c="black")
    for one in (axes, *others):
        one.grid(lw=0.3)
        one.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def _rows(axes: Axes, title: str, measured: Sequence[Measured | None]) -> None:
    """Draw a metric of all cells, one per row: mean ± std over seeds, and each seed as a dot."""
    mean, std = (np.array([np.nan if one is None else one[key] for one in measured]) for key in ("mean", "std"))
    several = any(len(one["values"]) > 1 for one in measured if one)
    axes.errorbar(mean, np.arange(len(measured)), xerr=std if several else None, fmt="o", ms=5, c=ACCENT, capsize=2)
    for row, one in enumerate(measured):
        if several and one:
            axes.plot(one["values"], [row + 0.25] * len(one["values"]), ".", ms=3, c="black", alpha=0.5)
    axes.set_title(title, fontsize=8)
    axes.tick_params(axis="x", labelsize=7)


def bars(labels: Sequence[str], metrics: Mapping[str, Sequence[Measured | None]], title: str) -> Figure:
    """Metrics of cells without a numeric axis: one row per cell and one panel per metric, mean ± std over seeds.

    Args:
        labels: labels of the cells.
        metrics: name to one measured value per cell; None if the cell lacks the metric.
        title: above the panels.
    """
    titles, columns = short(list(metrics)), min(len(metrics), PANELS_PER_ROW)
    lines_of_panels = -(-len(metrics) // columns)
    figure = blank(2.4 + 2.4 * columns, lines_of_panels * (1.0 + 0.26 * len(labels)))
    grid = figure.subplots(lines_of_panels, columns, squeeze=False, sharey=True)
    rows = np.arange(len(labels))
    for axes, (name, measured) in zip(grid.flat, metrics.items(), strict=False):
        _rows(axes, titles[name], measured)
        mean = np.array([np.nan if one is None else one["mean"] for one in measured])
        if np.nanmin(mean) > 0 and np.nanmax(mean) / np.nanmin(mean) > 20:
            axes.set_xscale("log")
        axes.set_yticks(rows, labels, fontsize=7)
        axes.grid(axis="y", lw=0.3)
        if axes.get_xscale() == "linear":
            axes.xaxis.set_major_locator(MaxNLocator(3))
    for empty in grid.flat[len(metrics) :]:
        empty.set_axis_off()
    grid[0, 0].invert_yaxis()
    figure.suptitle(f"{title}{_spread([metrics])}", fontsize=9)
    return figure


def _spread(groups: Iterable[Mapping[str, Sequence[Measured | None]]]) -> str:
    """The explanation of the error bars, for the title; empty if there are none."""
    measured = (one for group in groups for series in group.values() for one in series if one)
    return ", mean ± std over seeds" if any(len(one["values"]) > 1 for one in measured) else ""
