"""All methods on the mixture in one figure and one animation: scores and energies above, joint embeddings below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.animation import FEW, every_second
from stages.plots.canvas import ANIMATION_DPI, DPI, animate, blank
from stages.plots.colours import REFERENCE
from stages.plots.landscape import COSINE, NATS, Grid, Scale, draw, draw_points, draw_reference, format_axes, mark_collapse

Array = NDArray[Any]
COLUMNS = (3, 4, 5)
"""Panels in a row: the number that leaves the fewest places empty."""
LINE = 24
"""Most characters in a line of a panel's title."""


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """The landscape of one method."""

    title: str
    energy: Array
    """−cos to the reference point, or nats above the lowest true energy: (H, W), or (T, H, W) over training."""
    embedding: bool
    """Whether the method is a joint embedding."""
    collapsed: bool = False
    progress: Array = field(default_factory=lambda: np.ones(1))
    """Training step of each of the T landscapes divided by the number of steps (T,), increasing to 1."""

    def nearest(self, progress: float) -> Array:
        """The landscape (H, W) whose progress is nearest to `progress`."""
        return np.asarray(self.energy[np.abs(self.progress - progress).argmin()])


@dataclass(frozen=True, kw_only=True)
class _Block:
    """The panels that share a colour scale."""

    scale: Scale
    landscapes: list[Landscape]
    part: Any
    """The subfigure."""
    panels: Any
    """Its axes (rows, columns); those without a landscape are empty."""


def _figure(landscapes: Sequence[Landscape], side: float, height: float, dpi: int) -> tuple[Figure, list[_Block]]:
    """A figure with a block of scores and energies above one of joint embeddings; a block without panels is left out."""
    parts = [(NATS, [one for one in landscapes if not one.embedding]), (COSINE, [one for one in landscapes if one.embedding])]
    parts = [(scale, shown) for scale, shown in parts if shown]
    columns = min(COLUMNS, key=lambda columns: (sum(-len(shown) % columns for _, shown in parts), -columns))
    columns = min(columns, max(len(shown) for _, shown in parts))
    rows = [-(-len(shown) // columns) for _, shown in parts]
    figure = blank(side * columns + 0.8, height * sum(rows), dpi)
    blocks = []
    subfigures = figure.subfigures(len(parts), 1, height_ratios=rows, squeeze=False)[:, 0]
    for part, (scale, shown), count in zip(subfigures, parts, rows, strict=True):
        panels = part.subplots(count, columns, squeeze=False)
        for unused in panels.ravel()[len(shown) :]:
            unused.axis("off")
        blocks.append(_Block(scale=scale, landscapes=shown, part=part, panels=panels))
    return figure, blocks


def _format(axes: Axes, grid: Grid, title: str) -> None:
    format_axes(axes, grid, fill(title, LINE))
    axes.title.set_fontsize(8)
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")


def gallery(
    grid: Grid, landscapes: Sequence[Landscape], points: Array, truth: Array, reference: tuple[float, ...], title: str
) -> Figure:
    """The energy landscapes of all methods, the truth first; collapsed embeddings are marked.

    Args:
        grid: the nodes of all landscapes.
        landscapes: of all methods.
        points: test points (N, 2).
        truth: analytic −log p, in nats above its minimum (H, W).
        reference: the reference point of the joint embeddings.
        title: above the panels.
    """
    first = Landscape(title="Truth: −log p(x)", energy=truth, embedding=False)
    figure, blocks = _figure([first, *landscapes], 2.3, 2.6, DPI)
    for block in blocks:
        for axes, one in zip(block.panels.ravel(), block.landscapes, strict=False):
            filled = draw(axes, grid, one.energy, block.scale, "")
            draw_points(axes, points, 1)
            _format(axes, grid, one.title)
            if one.embedding:
                draw_reference(axes, reference, 12)
            if one.collapsed:
                mark_collapse(axes)
        block.part.colorbar(filled, ax=block.panels, shrink=0.9, aspect=30, **block.scale.bar)
    figure.suptitle(title)
    return figure


def formation(
    grid: Grid, landscapes: Sequence[Landscape], points: Array, reference: tuple[float, ...]
) -> list[NDArray[np.uint8]]:
    """The energy landscapes of all methods over training, side by side; the last snapshot is held.

    Methods may have trained for different numbers of steps: a frame shows all of them at the same fraction of their training,
    or at the nearest snapshot.

    Args:
        grid: the nodes of all landscapes.
        landscapes: of all methods, with energies (T, H, W) and their progress.
        points: test points (N, 2).
        reference: the reference point of the joint embeddings.
    """
    figure, blocks = _figure(landscapes, 1.35, 1.75, ANIMATION_DPI)
    images: list[tuple[Any, Landscape]] = []
    fixed: list[Any] = []
    for block in blocks:
        low, high = block.scale.low, block.scale.high
        for axes, one in zip(block.panels.ravel(), block.landscapes, strict=False):
            image = axes.imshow(one.energy[0], extent=grid.extent, origin="lower", cmap=block.scale.bands, vmin=low, vmax=high)
            _format(axes, grid, one.title)
            axes.title.set_fontsize(6.5)
            images.append((image, one))
            fixed.append(axes.scatter(*points[:FEW].T, s=1, c="white", alpha=0.3, linewidths=0, zorder=2))
            if one.embedding:
                fixed.append(axes.plot(*reference, "*", ms=7, c=REFERENCE, mec="black", mew=0.5, zorder=3)[0])
    label = figure.text(0.995, 0.01, "", ha="right", va="bottom", fontsize=8, fontweight="bold")
    progress = max((one.progress for one in landscapes), key=len)
    shown = progress[every_second(len(progress))]

    def update(frame: int) -> None:
        done = shown[min(frame, len(shown) - 1)]
        for image, one in images:
            image.set_data(one.nearest(done))
        label.set_text(f"{done:.2%} of the training steps" if done < 0.1 else f"{done:.0%} of the training steps")

    moving = [image for image, _ in images] + fixed + [label]
    return animate(figure, moving, update, len(shown) + len(shown) // 4)
