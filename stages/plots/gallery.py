"""All methods on the mixture in one figure and one animation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.canvas import ENERGY_MAP, animate, blank
from stages.plots.landscape import DEPTH, Grid, draw, format_axes

Array = NDArray[Any]


def _columns(panels: int) -> int:
    """The number of panels in a row."""
    return min(panels, 4 if panels <= 8 else 5)


def gallery(grid: Grid, energies: Mapping[str, tuple[Array, tuple[float, float]]], points: Array, truth: Array) -> Figure:
    """Small energy landscapes side by side: the truth first, then every method.

    Args:
        grid: the nodes of all landscapes.
        energies: method to its energy (H, W) and the ends of its colour scale.
        points: test points (N, 2).
        truth: analytic −log p (H, W).
    """
    columns = _columns(len(energies) + 1)
    rows = -(-(len(energies) + 1) // columns)
    figure = blank(2.5 * columns, 2.5 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    lowest = float(truth.min())
    fields = {"truth: −log p(x)": (truth, (lowest, lowest + DEPTH)), **energies}
    for panel in panels:
        panel.axis("off")
    for panel, (title, (energy, limits)) in zip(panels, fields.items(), strict=False):
        draw(panel, grid, energy, limits, title)
        panel.scatter(*points.T, s=1, c="white", alpha=0.3, linewidths=0)
    figure.suptitle(f"energy landscapes, dark is low ({ENERGY_MAP}); −cos from −1 to 1, −log p over {DEPTH:g} nats", fontsize=9)
    return figure


def formation(grid: Grid, energies: Mapping[str, tuple[Array, tuple[float, float]]], points: Array) -> list[NDArray[np.uint8]]:
    """The energy landscapes of all methods over training, side by side; the last snapshot is held.

    Args:
        grid: the nodes of all landscapes.
        energies: method to its energy at snapshots (T, H, W), evenly spaced in the logarithm of the step, and the ends of its
            colour scale.
        points: test points (N, 2).
    """
    columns = _columns(len(energies))
    rows = -(-len(energies) // columns)
    figure = blank(1.4 * columns, 1.55 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    moving: list[Any] = []
    for panel, (title, (snapshots, (low, high))) in zip(panels, energies.items(), strict=False):
        moving.append(panel.imshow(snapshots[0], extent=grid.extent, origin="lower", cmap=ENERGY_MAP, vmin=low, vmax=high))
        format_axes(panel, grid, title)
        moving.append(panel.scatter(*points.T, s=1, c="white", alpha=0.3, linewidths=0, zorder=2))
    # Every second snapshot, to halve the size of a file that is committed to Git.
    count = (max(len(snapshots) for snapshots, _ in energies.values()) + 1) // 2

    def update(frame: int) -> None:
        for image, (snapshots, _) in zip(moving[::2], energies.values(), strict=True):
            image.set_data(snapshots[min(2 * frame, len(snapshots) - 1) if frame < count - 1 else -1])

    return animate(figure, moving, update, count + count // 4)
