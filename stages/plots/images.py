"""Figures and animations of the methods on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill, shorten
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray

from stages.plots.canvas import ANIMATION_DPI, animate, blank
from stages.plots.colours import BASELINE, TRUTH, class_colours
from stages.plots.comparison import Shown
from stages.plots.sheets import SHARP, draw_image

Array = NDArray[Any]
COMPONENTS = ("first", "second")
"""Names of the two principal components that are drawn."""
LINE = 34
"""Most characters in a line of the title of an animation."""
NAME = 12
"""Most characters in a line of the name of a class."""
COLUMN = 25
"""Most classes in a column of a legend."""
NAMED = 30
"""Most classes whose names and counts fit into a figure."""
PANELS = 4
"""Perturbations per row of the accuracy curves."""
SHIFT = 0.012
"""Sideways distance of the curves of two embeddings, in strengths."""


def strength_label(strength: str | float) -> str:
    """A strength, a fraction of the strongest setting, as a percentage."""
    return f"{100 * float(strength):.0f} %"


def movie(frames: Array, titles: Sequence[str]) -> list[NDArray[np.uint8]]:
    """An animation of images (T, H, W), or (T, H, W, 3) in colour, in [0, 1], one per frame, each with its title."""
    frames, titles = frames.clip(0, 1), [fill(title, LINE) for title in titles]
    figure = blank(2.6, 2.9, ANIMATION_DPI)
    axes = figure.add_subplot()
    axes.axis("off")
    # Room for the titles, which change.
    axes.set_title(max(titles, key=lambda title: (title.count("\n"), len(title))), fontsize=9, color="white")
    picture = draw_image(axes, frames[0], sharp=frames.shape[1] <= SHARP)
    label = figure.text(0.5, 0.995 if any("\n" in title for title in titles) else 0.97, "", ha="center", va="top", fontsize=9)

    def update(frame: int) -> None:
        picture.set_data(frames[frame])
        label.set_text(titles[frame])

    return animate(figure, [picture, label], update, len(frames))


def _pca_axes(axes: Axes, explained: Array) -> None:
    pairs = zip(COMPONENTS, explained, strict=True)
    across, up = (f"{name} principal component, {100 * share:.0f} % of the variance" for name, share in pairs)
    axes.set(xlabel=across, ylabel=up)


def _longest(names: Sequence[str]) -> int:
    return max(map(len, names))


def _one_line(classes: Sequence[str]) -> list[str]:
    return [shorten(name, 2 * NAME, placeholder="…") for name in classes]


def _legend_columns(classes: Sequence[str]) -> int:
    return -(-len(classes) // COLUMN)


def _legend_width(classes: Sequence[str]) -> float:
    """Inches that the legend of the classes takes beyond the room that a figure has for a few short names."""
    return max(_legend_columns(classes) * (0.35 + 0.065 * _longest(_one_line(classes))) - 0.5, 0)


def _legend(axes: Axes, classes: Sequence[str]) -> None:
    """The names and colours of the classes beside the axes."""
    shown = zip(class_colours(len(classes)), _one_line(classes), strict=True)
    handles = [Line2D([], [], marker="o", ls="", c=colour, ms=5, label=name) for colour, name in shown]
    columns = _legend_columns(classes)
    axes.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns)


def pca(points: Array, labels: Array, classes: Sequence[str], explained: Array, title: str) -> Figure:
    """Scatter plot of embeddings on their first two principal components, each class named at its median or in a legend.

    Args:
        points: projected embeddings (N, 2).
        labels: classes (N,).
        classes: names of all classes.
        explained: fraction of the variance along each component (2,).
        title: above the plot.
    """
    named = len(classes) <= NAMED
    figure = blank(6.2 + (0 if named else _legend_width(classes)), 5)
    axes = figure.add_subplot()
    colours = class_colours(len(classes))
    axes.scatter(points[:, 0], points[:, 1], s=7, c=[colours[k] for k in labels], linewidths=0)
    if not named:
        _legend(axes, classes)
    for k in np.unique(labels) if named else ():
        place = np.median(points[labels == k], 0)
        outline = [withStroke(linewidth=3, foreground="white")]
        style: dict[str, Any] = {"fontweight": "bold", "ha": "center", "va": "center", "path_effects": outline}
        axes.text(place[0], place[1], fill(classes[k], NAME), fontsize=13 if _longest(classes) <= 2 else 8, **style)
    _pca_axes(axes, explained)
    axes.set_title(title)
    return figure


def pca_over_training(
    snapshots: Array, labels: Array, classes: Sequence[str], steps: Array, explained: Array, title: str
) -> list[NDArray[np.uint8]]:
    """Scatter plot of embeddings over training, in one common projection; the last snapshot is held.

    Args:
        snapshots: projected embeddings at each snapshot (T, N, 2).
        labels: classes (N,).
        classes: names of all classes.
        steps: training step of each snapshot (T,).
        explained: fraction of the last snapshot's variance along each component (2,).
        title: above the plot.
    """
    figure = blank(5 + _legend_width(classes), 4.2, ANIMATION_DPI)
    axes = figure.add_subplot()
    colours = class_colours(len(classes))
    dots = axes.scatter(snapshots[-1][:, 0], snapshots[-1][:, 1], s=7, c=[colours[k] for k in labels], linewidths=0)
    _legend(axes, classes)
    _pca_axes(axes, explained)
    low, high = snapshots[-1].min(0), snapshots[-1].max(0)
    margin = np.maximum((high - low) * 0.08, 1e-6)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_title(title)
    label = axes.text(0.03, 0.96, "", transform=axes.transAxes, va="top", fontsize=9, fontweight="bold")

    def update(frame: int) -> None:
        snapshot = min(frame, len(steps) - 1)
        dots.set_offsets(snapshots[snapshot])
        label.set_text(f"training step {steps[snapshot]:,}")

    return animate(figure, [dots, label], update, len(steps) + len(steps) // 4)


def confusion(counts: Array, classes: Sequence[str], title: str) -> Figure:
    """Confusion matrix, true class by row and predicted class by column; only the off-diagonal errors are coloured.

    Args:
        counts: images of class i (row) that were assigned to class j (column), (C, C). With more than `NAMED` classes a
            colour scale takes the place of the numbers.
        classes: names of the classes.
        title: above the matrix.
    """
    numbers = len(classes) <= NAMED
    names = [fill(name, NAME) for name in classes] if numbers else _one_line(classes)
    longest = max(_longest(name.split("\n")) for name in names)
    room = 0.07 * longest if longest > 2 else 0
    side = min(max(5.8 + 0.32 * (len(classes) - 10), 4.2), 12) + room
    figure = blank(side, side - 0.4)
    axes = figure.add_subplot()
    errors = counts - np.diag(np.diag(counts))
    picture = axes.imshow(errors, cmap="Oranges", vmin=0)
    if not numbers:
        figure.colorbar(picture, ax=axes, shrink=0.8, label="misclassified test images", ticks=MaxNLocator(integer=True))
    dark = errors.max() * 0.6
    for (row, column), count in np.ndenumerate(counts):
        if count and numbers:
            colour = BASELINE if row == column else "white" if count > dark else "black"
            weight = "normal" if row == column else "bold"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, c=colour, fontweight=weight)
    small: dict[str, Any] = {} if numbers else {"fontsize": 6}
    axes.set_xticks(range(len(counts)), names, rotation=90 if longest > 2 else 0, **small)
    axes.set_yticks(range(len(counts)), names, **small)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title)
    return figure


def knn(errors: Sequence[tuple[Shown, float]], title: str, target: float | None = None) -> Figure:
    """Test error of k-NN, one bar per embedding.

    Args:
        errors: the appearance of each embedding and its test error.
        title: above the bars.
        target: the error to stay below, drawn as a line.
    """
    figure = blank(6.6, 0.9 + 0.36 * len(errors))
    axes = figure.add_subplot()
    for row, (shown, error) in enumerate(errors):
        axes.barh(row, error, color=shown.colour, height=0.7)
        style: dict[str, Any] = {
            "va": "center",
            "fontsize": 8,
            "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1},
            "zorder": 3,
        }
        axes.annotate(f"{100 * error:.2f} %", (error, row), xytext=(4, 0), textcoords="offset points", **style)
    if target is not None:
        axes.axvline(target, c="black", lw=1, ls="--")
        axes.annotate(f"target {100 * target:.2f} %", (target, 1), xycoords=("data", "axes fraction"), fontsize=8, va="bottom")
    axes.set_yticks(range(len(errors)), [shown.title for shown, _ in errors])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("misclassified test images")
    axes.set_title(title, pad=16)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def robustness(embeddings: Sequence[tuple[Shown, Mapping[str, Any]]], count: int, title: str) -> Figure:
    """k-NN accuracy over the strength of the perturbation, one panel per perturbation, with 95 % Wilson intervals.

    Args:
        embeddings: the appearance of each embedding and its metrics: `robustness`, the accuracy by perturbation and strength;
            and `robustness_clean`, that on the same images without perturbation, which is drawn at strength 0.
        count: images in each perturbed test set.
        title: above the panels.
    """
    kinds = list(embeddings[0][1]["robustness"])
    columns = min(PANELS, len(kinds))
    rows = -(-len(kinds) // columns)
    figure = blank(2.5 * columns, 1.0 + 2.2 * rows)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, kind in zip(panels.flat, kinds, strict=False):
        for number, (shown, metrics) in enumerate(embeddings):
            by_strength = {"0": metrics["robustness_clean"]["accuracy"], **metrics["robustness"][kind]}
            accuracy = np.array([one["mean"] for one in by_strength.values()])
            low, high = _wilson(accuracy, count)
            # Shifted sideways, so that intervals do not overlap.
            places = np.array([float(strength) for strength in by_strength]) + SHIFT * (number - (len(embeddings) - 1) / 2)
            style = {"c": shown.colour, "ls": "--" if shown.colour in (BASELINE, TRUTH) else "-", "lw": 1.5}
            errors = np.maximum((accuracy - low, high - accuracy), 0)
            axes.errorbar(places, accuracy, yerr=errors, label=shown.title, marker="o", ms=3, elinewidth=1.2, **style)
        axes.set_title(kind.replace("_", " "), fontsize=11)
        axes.grid(lw=0.3)
        axes.tick_params(labelsize=9)
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    first = panels[0, 0]
    first.set_ylim(0, 1.03)
    first.set_xticks(np.linspace(0, 1, 3))
    for axis in (first.xaxis, first.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(title, fontsize=12)
    for axes in panels[-1]:
        axes.set_xlabel("strength of the perturbation", fontsize=10)
    for axes in panels[:, 0]:
        axes.set_ylabel("k-NN accuracy", fontsize=10)
    figure.legend(*first.get_legend_handles_labels(), fontsize=10, loc="outside lower center", ncols=len(embeddings))
    return figure


def _wilson(share: Array, count: int) -> tuple[Array, Array]:
    """The ends of the 95 % confidence interval of fractions p of `count` images: those p₀ with |p − p₀| ≤ z √(p₀(1 − p₀)/N).

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". It stays in [0, 1], and its length is
    positive at p = 0 and p = 1.
    """
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return centre - half, centre + half


def few_labels(embeddings: Sequence[tuple[Shown, Mapping[str, Any]]], dataset: str) -> Figure:
    """Test error of a linear probe against the number of labels, mean ± std over random subsets of labelled images.

    Args:
        embeddings: the appearance of each embedding, and the accuracy by number of labels.
        dataset: title of the data set.
    """
    figure = blank(6.6, 4.2)
    axes = figure.add_subplot()
    counts: list[int] = []
    for number, (shown, accuracies) in enumerate(embeddings):
        counts = [int(count) for count in accuracies]
        mean, std = [1 - one["mean"] for one in accuracies.values()], [one["std"] for one in accuracies.values()]
        # Shifted sideways, so that error bars do not overlap.
        places = [count * 1.03 ** (number - len(embeddings) / 2) for count in counts]
        line = "--" if shown.colour in (BASELINE, TRUTH) else "-"
        axes.errorbar(places, mean, yerr=std, marker="o", ms=4, capsize=3, label=shown.title, c=shown.colour, ls=line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(counts, [str(count) for count in counts], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images, equally many of each class")
    axes.set_ylabel("misclassified test images")
    axes.set_title(f"{dataset}: linear probe with few labels, mean ± std over random labelled subsets")
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=3)
    axes.grid(lw=0.3, which="both")
    return figure
