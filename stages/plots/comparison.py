"""Pictures that hold methods against each other and against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from stages.plots.canvas import ACCENT, blank
from stages.plots.fields import Conditional
from stages.plots.landscape import Grid, dress

Array = NDArray[Any]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#999933")
"""Lines of several methods; those of Okabe and Ito first, which colour-blind readers can tell apart."""
DASHES = ("-", "--", ":")


def _nothing(what: str) -> Figure:
    figure = blank(5, 1.2)
    figure.text(0.5, 0.5, f"no method in this run {what}", ha="center", va="center", fontsize=9)
    return figure


def _panels(count: int, width: float, height: float, columns: int = 4) -> tuple[Figure, list[Axes]]:
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = blank(width * columns, height * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in panels[count:]:
        panel.axis("off")
    return figure, panels


def collapse(curves: Mapping[str, tuple[Array, Array, Array]], variance_bound: float, std_bound: float) -> Figure:
    """Both figures of collapse over the training, on logarithmic axes, one line per method.

    Args:
        curves: method to the steps (T,), the variance over its initial value and the normalised std × √D at each.
        variance_bound, std_bound: below which it counts as a collapse.
    """
    if not curves:
        return _nothing("has an embedding")
    figure = blank(9.6, 3.8)
    left, right = figure.subplots(1, 2)
    for number, (name, (steps, ratio, std)) in enumerate(curves.items()):
        style = {"c": COLOURS[number % len(COLOURS)], "ls": DASHES[number // len(COLOURS) % 3], "lw": 1.5, "label": name}
        left.plot(steps + 1, np.maximum(ratio, 1e-9), **style)
        right.plot(steps + 1, np.maximum(std, 1e-4), **style)
    for axes, bound, label in (
        (left, variance_bound, "total variance / its initial value"),
        (right, std_bound, "std of the directions × √D"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.axhline(bound, c="black", lw=0.8, ls="--")
        axes.text(1.1, bound, "collapsed below", va="bottom", fontsize=7)
        axes.set_xlabel("training step + 1")
        axes.set_ylabel(label)
    right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def conditional(shown: Mapping[str, Conditional]) -> Figure:
    """What masked methods make of a conditional with several modes, one panel each.

    Args:
        shown: method to its fields.
    """
    if not shown:
        return _nothing("predicts a hidden coordinate")
    figure, panels = _panels(len(shown), 4.8, 3.2, columns=2)
    for panel, (name, fields) in zip(panels, shown.items(), strict=False):
        panel.fill_between(fields.axis, fields.true, color="#bbbbbb", label="true density")
        if fields.density is not None:
            panel.plot(fields.axis, fields.density, c=COLOURS[0], lw=1.5, label="learned density")
        panel.axvline(fields.mean, c="black", lw=1, ls=":", label="true mean")
        panel.axvline(fields.point, c=ACCENT, lw=1.5, ls="--", label="predicted point")
        panel.set_title(f"{name}: x₀ given x₁ = {fields.seen:.2g}", fontsize=9)
        panel.set_xlabel("x₀")
        panel.set_ylabel("density")
        panel.legend(fontsize=7, frameon=False)
    return figure


def critics(shown: Mapping[str, tuple[Array, Array, float]]) -> Figure:
    """Critics against pointwise mutual information, one panel each; the diagonal is the optimum.

    Args:
        shown: method to mutual information (P,), critic (P,) and R².
    """
    if not shown:
        return _nothing("judges pairs of views")
    figure, panels = _panels(len(shown), 4.0, 3.7)
    for panel, (name, (true, learned, r2)) in zip(panels, shown.items(), strict=False):
        ends = (float(true.min()), float(true.max()))
        panel.plot(ends, ends, c="black", lw=0.8, ls="--")
        panel.scatter(true, learned, s=2, c=COLOURS[0], alpha=0.3, linewidths=0)
        panel.set_title(f"{name}: R² {r2:.3f}", fontsize=9)
        panel.set_xlabel("mutual information less its row's mean, nats")
        panel.set_ylabel("critic less its row's mean")
    return figure


def score_errors(grid: Grid, shown: Mapping[str, tuple[Array, Array, float]], points: Array) -> Figure:
    """Where learned scores are wrong: log₁₀ ‖s_θ − s‖ over the plane, one panel each, on one scale.

    Args:
        grid: the nodes.
        shown: method to the learned and the true score (H, W, 2) and the relative Fisher error.
        points: data (N, 2).
    """
    if not shown:
        return _nothing("has a score")
    figure, panels = _panels(len(shown), 3.0, 3.0, columns=3)
    image: Any = None
    for panel, (name, (learned, true, error)) in zip(panels, shown.items(), strict=False):
        distance = np.log10(np.maximum(np.linalg.norm(learned - true, axis=-1), 1e-3))
        image = panel.imshow(distance, extent=grid.extent, origin="lower", cmap="magma", vmin=-1.5, vmax=1.5)
        panel.scatter(points[:, 0], points[:, 1], s=0.5, c="white", alpha=0.3, linewidths=0)
        dress(panel, grid, f"{name}: {error:.3f}")
    figure.colorbar(image, ax=panels, label="log₁₀ ‖s_θ − s‖, 1/x", shrink=0.8)
    return figure


def mode_weights(shown: Mapping[str, tuple[Array, Array]], truth: Array) -> Figure:
    """The share of each mode among a sampler's points, by the learned and by the true score, with the std over seeds.

    Args:
        shown: method to the shares (S, K) by its score and by the analytic one.
        truth: the weights (K,).
    """
    if not shown:
        return _nothing("samples")
    figure = blank(max(1.6 * len(shown) + 1.5, 5), 3.4)
    axes = figure.add_subplot()
    modes = len(truth)
    width = 0.8 / modes
    for place, (learned, control) in enumerate(shown.values()):
        for mode in range(modes):
            x = place + (mode - (modes - 1) / 2) * width
            colour = COLOURS[mode % len(COLOURS)]
            axes.bar(x, learned[:, mode].mean(), width * 0.9, yerr=learned[:, mode].std(), color=colour, capsize=2)
            axes.plot(x, control[:, mode].mean(), "D", ms=4, c="white", mec="black")
            axes.hlines(truth[mode], x - width / 2, x + width / 2, colors="black", lw=1.5)
    axes.set_xticks(range(len(shown)), list(shown), fontsize=8)
    axes.set_ylabel("share of the samples")
    handles = [Line2D([], [], marker="s", ls="", c=COLOURS[mode % len(COLOURS)], label=f"mode {mode}") for mode in range(modes)]
    handles += [
        Line2D([], [], marker="D", ls="", c="white", mec="black", label="by the true score"),
        Line2D([], [], c="black", lw=1.5, label="truth"),
    ]
    axes.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
