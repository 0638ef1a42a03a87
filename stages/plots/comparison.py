"""Figures that compare methods with each other and with the truth."""

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
from stages.plots.landscape import Grid, format_axes

Array = NDArray[Any]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#999933")
"""Line colours of methods: first those of Okabe and Ito, which colour-blind readers can tell apart."""
DASHES = ("-", "--", ":")
"""Line styles of methods, once the colours are used up."""


def _placeholder(capability: str) -> Figure:
    """A figure that says that no method has the capability."""
    figure = blank(5, 1.2)
    figure.text(0.5, 0.5, f"no method in this run {capability}", ha="center", va="center", fontsize=9)
    return figure


def _panels(count: int, width: float, height: float, columns: int = 4) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, each of that size in inches, in rows of at most `columns`."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = blank(width * columns, height * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in panels[count:]:
        panel.axis("off")
    return figure, panels


def collapse(curves: Mapping[str, tuple[Array, Array, Array]], variance_threshold: float, std_threshold: float) -> Figure:
    """Both collapse metrics over training, on logarithmic axes, one line per method.

    Args:
        curves: method to training steps (T,), total variance divided by its initial value (T,), and √D × std of the
            normalised embeddings (T,).
        variance_threshold: a smaller variance ratio is a collapse.
        std_threshold: a smaller std is a collapse.
    """
    if not curves:
        return _placeholder("has an embedding")
    figure = blank(9.6, 3.8)
    left, right = figure.subplots(1, 2)
    for number, (name, (steps, ratio, std)) in enumerate(curves.items()):
        style = {"c": COLOURS[number % len(COLOURS)], "ls": DASHES[number // len(COLOURS) % 3], "lw": 1.5, "label": name}
        left.plot(steps + 1, np.maximum(ratio, 1e-9), **style)
        right.plot(steps + 1, np.maximum(std, 1e-4), **style)
    for axes, threshold, label in (
        (left, variance_threshold, "total variance / initial value"),
        (right, std_threshold, "std of normalised embeddings × √D"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.axhline(threshold, c="black", lw=0.8, ls="--")
        axes.text(1.1, threshold, "collapse threshold", va="bottom", fontsize=7)
        axes.set_xlabel("training step + 1")
        axes.set_ylabel(label)
    right.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def conditional(shown: Mapping[str, Conditional]) -> Figure:
    """True and predicted conditional density of x₀ given x₁, one panel per masked method.

    Args:
        shown: method to its conditional.
    """
    if not shown:
        return _placeholder("predicts a hidden coordinate")
    figure, panels = _panels(len(shown), 4.8, 3.2, columns=2)
    for panel, (name, fields) in zip(panels, shown.items(), strict=False):
        panel.fill_between(fields.axis, fields.true, color="#bbbbbb", label="true density")
        if fields.density is not None:
            panel.plot(fields.axis, fields.density, c=COLOURS[0], lw=1.5, label="learned density")
        panel.axvline(fields.mean, c="black", lw=1, ls=":", label="true mean")
        panel.axvline(fields.point, c=ACCENT, lw=1.5, ls="--", label="point prediction")
        panel.set_title(f"{name}: x₀ given x₁ = {fields.seen:.2g}", fontsize=9)
        panel.set_xlabel("x₀")
        panel.set_ylabel("density")
        panel.legend(fontsize=7, frameon=False)
    return figure


def critics(shown: Mapping[str, tuple[Array, Array, float]]) -> Figure:
    """Critic against pointwise mutual information (PMI), one panel per method; the diagonal is the optimum.

    Args:
        shown: method to PMI (P,) and critic (P,), both centred per first view, and R².
    """
    if not shown:
        return _placeholder("has a critic")
    figure, panels = _panels(len(shown), 4.0, 3.7)
    for panel, (name, (true, learned, r2)) in zip(panels, shown.items(), strict=False):
        ends = (float(true.min()), float(true.max()))
        panel.plot(ends, ends, c="black", lw=0.8, ls="--")
        panel.scatter(true, learned, s=2, c=COLOURS[0], alpha=0.3, linewidths=0)
        panel.set_title(f"{name}: R² {r2:.3f}", fontsize=9)
        panel.set_xlabel("PMI, centred per first view, nats")
        panel.set_ylabel("critic, centred per first view")
    return figure


def score_errors(grid: Grid, shown: Mapping[str, tuple[Array, Array, float]], points: Array) -> Figure:
    """The error of learned scores, log₁₀ ‖s_θ − s‖ over the plane, one panel per method on a common scale.

    Args:
        grid: the nodes.
        shown: method to the learned and the true score (H, W, 2) and the relative Fisher divergence.
        points: data (N, 2).
    """
    if not shown:
        return _placeholder("has a score")
    figure, panels = _panels(len(shown), 3.0, 3.0, columns=3)
    image: Any = None
    for panel, (name, (learned, true, error)) in zip(panels, shown.items(), strict=False):
        error_map = np.log10(np.maximum(np.linalg.norm(learned - true, axis=-1), 1e-3))
        image = panel.imshow(error_map, extent=grid.extent, origin="lower", cmap="magma", vmin=-1.5, vmax=1.5)
        panel.scatter(points[:, 0], points[:, 1], s=0.5, c="white", alpha=0.3, linewidths=0)
        format_axes(panel, grid, f"{name}: {error:.3f}")
    figure.colorbar(image, ax=panels, label="log₁₀ ‖s_θ − s‖, s in 1/x", shrink=0.8)
    return figure


def mode_weights(shown: Mapping[str, tuple[Array, Array]], truth: Array) -> Figure:
    """Mode weights of samples drawn with the learned and with the true score, mean ± std over seeds.

    Args:
        shown: method to the mode weights (S, K) with the learned and with the analytic score.
        truth: true mode weights (K,).
    """
    if not shown:
        return _placeholder("samples")
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
    axes.set_ylabel("fraction of samples")
    handles = [Line2D([], [], marker="s", ls="", c=COLOURS[mode % len(COLOURS)], label=f"mode {mode}") for mode in range(modes)]
    handles += [
        Line2D([], [], marker="D", ls="", c="white", mec="black", label="with the true score"),
        Line2D([], [], c="black", lw=1.5, label="true weight"),
    ]
    axes.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
