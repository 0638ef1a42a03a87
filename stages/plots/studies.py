"""Pictures of studies: figures over the settings they were measured at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stages.plots.canvas import ACCENT, blank

Measured = Mapping[str, Any]
"""A figure over seeds: mean, std, values."""


def lines(x: Sequence[float], figures: Mapping[str, Sequence[Measured]], label: str, title: str) -> Figure:
    """Each figure over one varied number, with its standard deviation over seeds and the seeds themselves as dots.

    Args:
        x: the values of the varied param.
        figures: name to one measured figure per value.
        label: the param.
        title: above the panels.
    """
    figure = blank(3.2 * len(figures), 3.2)
    for axes, (name, measured) in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures.items(), strict=True):
        mean, std = ([one[key] for one in measured] for key in ("mean", "std"))
        for place, one in zip(x, measured, strict=True):
            axes.plot([place] * len(one["values"]), one["values"], ".", ms=3, c="#999999")
        axes.errorbar(x, mean, yerr=std, c=ACCENT, capsize=3, lw=1.5)
        if min(x) > 0 and max(x) / min(x) > 5:
            axes.set_xscale("log")
            axes.set_xticks(x, [f"{value:g}" for value in x], minor=False)
            axes.minorticks_off()
        lowest, highest = min(min(one["values"]) for one in measured), max(max(one["values"]) for one in measured)
        if lowest > 0 and highest / lowest > 20:
            axes.set_yscale("log")
        axes.set_xlabel(label)
        axes.set_title(name.split(".")[-1].replace("_", " "), fontsize=9)
    figure.suptitle(f"{title}, mean ± std over seeds", fontsize=9)
    return figure


def bars(labels: Sequence[str], figures: Mapping[str, Sequence[Measured | None]], title: str) -> Figure:
    """One row per cell and one panel per figure, with the standard deviation over seeds.

    Args:
        labels: the cells.
        figures: name to one measured figure per cell, None where a cell has none.
        title: above the panels.
    """
    figure = blank(2.4 + 2.4 * len(figures), 1.0 + 0.26 * len(labels))
    panels = figure.subplots(1, len(figures), squeeze=False, sharey=True)[0]
    rows = np.arange(len(labels))
    for axes, (name, measured) in zip(panels, figures.items(), strict=True):
        mean = np.array([np.nan if one is None else one["mean"] for one in measured])
        std = np.array([np.nan if one is None else one["std"] for one in measured])
        axes.errorbar(mean, rows, xerr=std, fmt="o", ms=5, c=ACCENT, capsize=2)
        if np.nanmin(mean) > 0 and np.nanmax(mean) / np.nanmin(mean) > 20:
            axes.set_xscale("log")
        axes.set_yticks(rows, labels, fontsize=7)
        axes.grid(axis="y", lw=0.3)
        axes.set_title(name.split(".")[-1].replace("_", " "), fontsize=8)
        axes.tick_params(axis="x", labelsize=7)
    panels[0].invert_yaxis()
    figure.suptitle(f"{title}, mean ± std over seeds", fontsize=9)
    return figure
