"""All methods of the mixture in one picture and one animation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.canvas import ENERGY_MAP, animate, blank
from stages.plots.landscape import DEPTH, Grid, draw, dress

Array = NDArray[Any]


def _columns(panels: int) -> int:
    """How many panels stand in a row."""
    return min(panels, 4 if panels <= 8 else 5)


def gallery(grid: Grid, energies: Mapping[str, tuple[Array, tuple[float, float]]], points: Array, truth: Array) -> Figure:
    """Small landscapes side by side: the truth first, then every method's energy (H, W) with the limits of its scale.

    Args:
        grid: the nodes of all landscapes.
        energies: method to energy and the ends of its colour scale.
        points: data (N, 2).
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
    figure.suptitle(f"energy landscapes, dark is low ({ENERGY_MAP}); −cos on [−1, 1], −log p over {DEPTH:g} nats", fontsize=9)
    return figure


def formation(grid: Grid, energies: Mapping[str, tuple[Array, tuple[float, float]]], points: Array) -> list[NDArray[np.uint8]]:
    """How the landscapes of all methods form: each (T, H, W) over its own training, side by side; the end is held.

    Args:
        grid: the nodes of all landscapes.
        energies: method to its snapshots, spaced by the logarithm of the step, and the ends of its colour scale.
        points: data (N, 2).
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
        dress(panel, grid, title)
        moving.append(panel.scatter(*points.T, s=1, c="white", alpha=0.3, linewidths=0, zorder=2))
    # Every second snapshot: half the bytes of a picture that lies in git.
    count = (max(len(snapshots) for snapshots, _ in energies.values()) + 1) // 2

    def update(frame: int) -> None:
        for image, (snapshots, _) in zip(moving[::2], energies.values(), strict=True):
            image.set_data(snapshots[min(2 * frame, len(snapshots) - 1) if frame < count - 1 else -1])

    return animate(figure, moving, update, count + count // 4)
