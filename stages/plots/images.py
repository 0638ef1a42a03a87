"""Figures and animations of the methods on images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray

from stages.plots.canvas import animate, blank

Array = NDArray[Any]
CLASS_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#666666",
)  # fmt: skip
"""Colours of the ten classes, which colour-blind readers can tell apart: Paul Tol's muted scheme and a grey."""


def movie(frames: Array, title: str) -> list[NDArray[np.uint8]]:
    """An animation of greyscale images (T, H, W) with values in [0, 1], one per frame."""
    figure = blank(2.6, 2.8)
    axes = figure.add_subplot()
    axes.axis("off")
    picture = axes.imshow(frames[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    return animate(figure, [picture], lambda frame: picture.set_data(frames[frame]), len(frames))


def _scatter(axes: Axes, points: Array, labels: Array) -> Any:
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    handles = [Line2D([], [], marker="o", ls="", c=colour, ms=5) for colour in CLASS_COLOURS]
    axes.legend(handles, [str(k) for k in range(10)], fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return axes.scatter(points[:, 0], points[:, 1], s=7, c=[CLASS_COLOURS[k] for k in labels], linewidths=0)


def pca(points: Array, labels: Array, title: str) -> Figure:
    """Scatter plot of embeddings on their first two principal components (N, 2), coloured by class."""
    figure = blank(6.4, 5)
    axes = figure.add_subplot()
    _scatter(axes, points, labels)
    axes.set_title(title, fontsize=9)
    return figure


def pca_over_training(snapshots: Array, labels: Array, steps: Array, title: str) -> list[NDArray[np.uint8]]:
    """Scatter plot of embeddings over training, in one common projection; the last snapshot is held.

    Args:
        snapshots: projected embeddings at each snapshot (T, N, 2).
        labels: classes (N,).
        steps: training step of each snapshot (T,).
        title: above the plot.
    """
    figure = blank(5, 4.2)
    axes = figure.add_subplot()
    dots = _scatter(axes, snapshots[-1], labels)
    low, high = snapshots[-1].min(0), snapshots[-1].max(0)
    margin = np.maximum((high - low) * 0.08, 1e-6)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_title(title, fontsize=9)
    label = axes.text(0.03, 0.96, "", transform=axes.transAxes, va="top", fontsize=9, fontweight="bold")

    def update(frame: int) -> None:
        snapshot = min(frame, len(steps) - 1)
        dots.set_offsets(snapshots[snapshot])
        label.set_text(f"step {steps[snapshot]}")

    return animate(figure, [dots, label], update, len(steps) + len(steps) // 4)


def confusion(counts: Array, title: str) -> Figure:
    """Confusion matrix, true class by row and predicted class by column; only the off-diagonal errors are coloured."""
    figure = blank(5.2, 4.8)
    axes = figure.add_subplot()
    errors = counts - np.diag(np.diag(counts))
    axes.imshow(errors, cmap="Oranges", vmin=0)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, c="#555" if row == column else "black")
    axes.set_xticks(range(len(counts)))
    axes.set_yticks(range(len(counts)))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title, fontsize=9)
    return figure


def dots(groups: Mapping[str, Mapping[str, float]], title: str, unit: str, target: float | None = None) -> Figure:
    """Dot plot of several metrics for several embeddings.

    Args:
        groups: embedding and metric to value.
        title: above the plot.
        unit: label of the axis of values.
        target: reference value, drawn as a line.
    """
    names = list(groups)
    metrics = list(groups[names[0]])
    figure = blank(7.2, 3.6)
    axes = figure.add_subplot()
    for k, name in enumerate(names):
        values = [groups[name][metric] for metric in metrics]
        at = np.arange(len(metrics)) + (k - (len(names) - 1) / 2) * 0.8 / len(names)
        axes.plot(at, values, "osD^"[k % 4], label=name, c=("#332288", "#999933", "#88ccee", "#cc6677")[k % 4], ms=6)
        for place in zip(at, values, strict=True):
            axes.annotate(
                f"{place[1]:.4f}", place, ha="center", va="bottom", fontsize=6, xytext=(0, 5), textcoords="offset points"
            )
    axes.margins(x=0.05, y=0.15)
    axes.grid(axis="y", lw=0.3)
    if target is not None:
        axes.axhline(target, c="black", lw=0.8, ls="--", label=f"target: {target}")
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set_ylabel(unit)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set_title(title, fontsize=9)
    return figure


def robustness(accuracies: Mapping[str, Mapping[str, float]], clean: float, title: str) -> Figure:
    """Heat map of k-NN accuracy by perturbation (row) and strength (column).

    Args:
        accuracies: perturbation and strength to accuracy.
        clean: accuracy on the same images without perturbation.
        title: above the map.
    """
    kinds, strengths = list(accuracies), list(next(iter(accuracies.values())))
    figure = blank(5.2, 3.4)
    axes = figure.add_subplot()
    _heat_map(figure, axes, np.array([[accuracies[kind][strength] for strength in strengths] for kind in kinds]))
    axes.set_xticks(range(len(strengths)), strengths)
    axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    axes.set_xlabel("strength as a fraction of mnist_severity")
    axes.set_title(f"{title}\nunperturbed images: {clean:.4f}", fontsize=9)
    return figure


def _heat_map(figure: Figure, axes: Axes, table: Array) -> None:
    """Draw a table of accuracies with the value in each cell."""
    image = axes.imshow(table, cmap="cividis", vmin=0.1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", c="white" if value < 0.6 else "black", fontsize=8)
    figure.colorbar(image, ax=axes, label="k-NN accuracy")


def robustness_of_all(embeddings: Mapping[str, Mapping[str, Any]], count: int) -> Figure:
    """Heat map of k-NN accuracy by perturbation and strength (row) and embedding (column).

    Args:
        embeddings: embedding to its metrics; `robustness` maps perturbation and strength to an accuracy.
        count: images in each perturbed test set.
    """
    rows = [(kind, s) for kind, group in next(iter(embeddings.values()))["robustness"].items() for s in group]
    figure = blank(2.8 + 1.0 * len(embeddings), 1.2 + 0.24 * len(rows))
    axes = figure.add_subplot()
    values = [[metrics["robustness_clean"]["accuracy"]["mean"] for metrics in embeddings.values()]]
    values += [[metrics["robustness"][kind][s]["mean"] for metrics in embeddings.values()] for kind, s in rows]
    _heat_map(figure, axes, np.array(values))
    labels = ["unperturbed", *(f"{kind.replace('_', ' ')} {strength}" for kind, strength in rows)]
    axes.set_xticks(range(len(embeddings)), list(embeddings))
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_title(
        f"k-NN on {count:,} perturbed test images (standard error up to {0.5 / np.sqrt(count):.3f})\n"
        "strength as a fraction of mnist_severity",
        fontsize=9,
    )
    return figure


def few_labels(embeddings: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Test error of a linear probe against the number of labels, mean ± std over random subsets of labelled images.

    Args:
        embeddings: embedding and number of labels to the accuracy.
    """
    figure = blank(6.4, 3.8)
    axes = figure.add_subplot()
    for number, (name, accuracies) in enumerate(embeddings.items()):
        counts = [int(count) for count in accuracies]
        mean, std = [1 - one["mean"] for one in accuracies.values()], [one["std"] for one in accuracies.values()]
        colour, line = CLASS_COLOURS[number % 9], "--" if number >= len(embeddings) - 2 else "-"
        # Shifted sideways, so that error bars do not overlap.
        places = [count * 1.03 ** (number - len(embeddings) / 2) for count in counts]
        axes.errorbar(places, mean, yerr=std, marker="o", ms=4, capsize=3, label=name, c=colour, ls=line)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(counts, [str(count) for count in counts], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images (class-balanced)")
    axes.set_ylabel("test error")
    axes.set_title("linear probe with few labels, mean ± std over random labelled subsets", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    axes.grid(lw=0.3, which="both")
    return figure
