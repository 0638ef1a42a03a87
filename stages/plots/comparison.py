"""Figures that compare methods with each other and with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from stages.plots.canvas import blank
from stages.plots.colours import ACCENT, ERROR_MAP, TRUTH, TRUTH_FILL
from stages.plots.fields import Conditional
from stages.plots.landscape import Grid, draw_density, format_axes

Array = NDArray[Any]
DASHES = ("-", "--", ":")
"""Line styles, in turn, so that neighbouring lines differ in more than their colour."""
FLOORS = (1e-7, 1e-4)
"""Values below which a variance ratio and a normalised std are drawn as if they were so large."""


@dataclass(frozen=True)
class Shown:
    """How a method appears in a figure.

    Args:
        title: its name.
        colour: its colour.
    """

    title: str
    colour: str


def placeholder(reason: str) -> Figure:
    """A figure that says why there is nothing to show."""
    figure = blank(5, 1.2)
    figure.text(0.5, 0.5, reason, ha="center", va="center", fontsize=9)
    return figure


def _placeholder(capability: str) -> Figure:
    """A figure that says that no method has the capability."""
    return placeholder(f"no method in this run {capability}")


def panels(count: int, width: float, height: float, columns: int = 4, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, each of that size in inches, in rows of at most `columns`."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = blank(width * columns, height * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False, **shared).ravel())
    for panel in panels[count:]:
        panel.axis("off")
    return figure, panels


def _superscript(number: float) -> str:
    """A number in superscript."""
    return f"{number:g}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def collapse(
    curves: Mapping[str, tuple[Shown, Array, Array, Array]], variance_threshold: float, std_threshold: float
) -> Figure:
    """Both collapse metrics over training, on logarithmic axes, one line per method.

    Args:
        curves: method to its appearance, training steps (T,), total variance divided by its initial value (T,), and √D × std of
            the normalised embeddings (T,).
        variance_threshold: a smaller variance ratio is a collapse.
        std_threshold: a smaller std is a collapse.
    """
    if not curves:
        return _placeholder("has an embedding")
    figure = blank(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    for number, (shown, steps, ratio, std) in enumerate(curves.values()):
        style: dict[str, Any] = {"c": shown.colour, "ls": DASHES[number % len(DASHES)], "lw": 1.7, "label": shown.title}
        left.plot(steps + 1, np.maximum(ratio, FLOORS[0]), **style)
        right.plot(steps + 1, np.maximum(std, FLOORS[1]), **style)
    for axes, threshold, label in (
        (left, variance_threshold, "total variance / initial value"),
        (right, std_threshold, "std of the L2-normalised embeddings × √D"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        low = min(axes.get_ylim()[0], threshold / 10)
        axes.axhspan(low, threshold, color=ACCENT, alpha=0.08, lw=0)
        axes.set_ylim(bottom=low)
        axes.text(0.02, threshold, "collapsed below", transform=axes.get_yaxis_transform(), va="top", fontsize=8, color=ACCENT)
        axes.set_xlabel("training step + 1")
        axes.set_title(label)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle("Collapse over training, first seed")
    return figure


def conditional(shown: Mapping[str, tuple[Shown, Conditional]]) -> Figure:
    """True and predicted conditional density of x₀ given x₁, one panel per masked method, on common axes.

    Args:
        shown: method to its appearance and its conditional.
    """
    if not shown:
        return _placeholder("predicts a hidden coordinate")
    figure, axes = panels(len(shown), 4.6, 3.3, columns=2, sharex=True, sharey=True)
    for panel, (method, fields) in zip(axes, shown.values(), strict=False):
        panel.fill_between(fields.axis, fields.true, color=TRUTH_FILL, lw=0)
        panel.axvline(fields.mean, c=TRUTH, lw=1.2, ls=":")
        if fields.density is not None:
            panel.plot(fields.axis, fields.density, c=method.colour, lw=2)
        panel.axvline(fields.point, c=method.colour, lw=1.8, ls="--")
        panel.set_title(method.title)
        panel.set_xlabel("hidden coordinate x₀")
    axes[0].set_ylabel("density")
    axes[0].set_ylim(bottom=0)
    handles = [
        Patch(color=TRUTH_FILL, label="true density"),
        Line2D([], [], c=TRUTH, lw=1.2, ls=":", label="true mean"),
        Line2D([], [], c="black", lw=1.8, ls="--", label="mean x₀ of the training points nearest to the predicted embedding"),
        Line2D([], [], c="black", lw=2, label="learned density"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    seen = next(iter(shown.values()))[1].seen
    figure.suptitle(f"The hidden coordinate x₀ given x₁ = {seen:.2g}, first seed")
    return figure


def critics(shown: Mapping[str, tuple[Shown, Array, Array, float]]) -> Figure:
    """Critic against pointwise mutual information (PMI), one panel per method; the diagonal is the optimum.

    Args:
        shown: method to its appearance, PMI (P,) and critic (P,), both centred per first view, and R².
    """
    if not shown:
        return _placeholder("has a critic")
    figure, axes = panels(len(shown), 3.9, 4.1, sharex=True, sharey=True)
    values = np.concatenate([np.concatenate((true, learned)) for _, true, learned, _ in shown.values()])
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 1.0
    for panel, (method, true, learned, r2) in zip(axes, shown.values(), strict=False):
        panel.plot((low, high), (low, high), c=TRUTH, lw=1, zorder=2)
        panel.scatter(true, learned, s=3, c=method.colour, alpha=0.3, linewidths=0)
        panel.set_title(f"{method.title}\nR² = {r2:.3f} over all seeds")
        panel.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")
        panel.set_xlabel("pointwise mutual information, nats")
    axes[0].set_ylabel("critic, nats")
    figure.suptitle(
        "Critic against pointwise mutual information (line: equal), first seed;\nboth minus their mean per first view"
    )
    return figure


def score_errors(
    grid: Grid, shown: Mapping[str, tuple[Shown, Array, Array, float]], densities: Mapping[str, Array], depth: float
) -> Figure:
    """The error of learned scores, ‖s_θ − s‖, over the plane, one panel per method on a common logarithmic scale.

    Args:
        grid: the nodes.
        shown: method to its appearance, the learned and the true score (H, W, 2) and the relative Fisher divergence.
        densities: method to the log-density of its target (H, W), in nats.
        depth: nodes whose log-density is further below the maximum are masked.
    """
    if not shown:
        return _placeholder("has a score")
    figure, axes = panels(len(shown), 3.0, 3.2, columns=3)
    image: Any = None
    for panel, (name, (method, learned, true, error)) in zip(axes, shown.items(), strict=False):
        error_map = np.log10(np.maximum(np.linalg.norm(learned - true, axis=-1), 1e-3))
        reached = densities[name] > densities[name].max() - depth
        panel.set_facecolor("#e6e6e6")
        masked = np.ma.masked_where(~reached, error_map)
        image = panel.imshow(masked, extent=grid.extent, origin="lower", cmap=ERROR_MAP, vmin=-2, vmax=1)
        format_axes(panel, grid, f"{method.title}\nrelative Fisher divergence\n{error:.3f} over all seeds")
    bar = figure.colorbar(image, ax=axes, label="‖s_θ − s‖, in 1 / unit of x", shrink=0.8, extend="both")
    bar.set_ticks([-2, -1, 0, 1], labels=["0.01", "0.1", "1", "10"])
    figure.suptitle(
        f"Error of the learned score, first seed; grey: density below e{_superscript(-depth)} of its maximum, hardly any data"
    )
    return figure


def mode_weights(
    shown: Mapping[str, tuple[Shown, Array, Array]], truth: Array, means: Array, grid: Grid, log_density: Array
) -> Figure:
    """Mode weights of samples drawn with the learned and with the true score, mean ± std over seeds, beside a map of the modes.

    Args:
        shown: method to its appearance and the mode weights (S, K) with the learned and with the analytic score.
        truth: true mode weights (K,).
        means: means of the modes (K, 2).
        grid: the nodes.
        log_density: of the mixture (H, W).
    """
    if not shown:
        return _placeholder("samples")
    figure = blank(max(1.5 * len(shown) + 3.4, 7), 3.6)
    small, axes = figure.subplots(1, 2, width_ratios=(1, 0.52 * len(shown) + 0.4))
    draw_density(small, grid, log_density, "the modes")
    for mode, mean in enumerate(means, 1):
        small.text(*mean, str(mode), ha="center", va="center", fontweight="bold", fontsize=11)
    modes = len(truth)
    several = min(len(learned) for _, learned, _ in shown.values()) > 1
    width = 0.84 / modes
    for place, (method, learned, control) in enumerate(shown.values()):
        for mode in range(modes):
            x = place + (mode - (modes - 1) / 2) * width
            spread = learned[:, mode].std() if several else None
            axes.bar(x, learned[:, mode].mean(), width * 0.9, yerr=spread, color=method.colour, capsize=2)
            axes.plot(x, control[:, mode].mean(), "D", ms=4, c="white", mec=TRUTH)
            axes.hlines(truth[mode], x - width / 2, x + width / 2, colors=TRUTH, lw=2)
            axes.text(x, 0.006, str(mode + 1), ha="center", va="bottom", color="white", fontsize=8, fontweight="bold")
    axes.set_xticks(range(len(shown)), [method.title.replace(" ", "\n", 1) for method, _, _ in shown.values()], fontsize=8)
    axes.set_ylabel("fraction of samples")
    handles = [
        Line2D([], [], c=TRUTH, lw=2, label="true weight"),
        Line2D([], [], marker="D", ls="", c="white", mec=TRUTH, label="same sampler with the true score"),
    ]
    figure.legend(handles=handles, fontsize=8, loc="outside lower right", ncols=2)
    figure.suptitle(f"Mode weights of the samples, {'mean ± std over seeds' if several else 'one seed'}")
    return figure
