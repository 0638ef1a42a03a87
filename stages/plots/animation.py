"""Animations of energy landscapes as frames (H, W, 3); only the moving artists are redrawn in each frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from stages.plots.canvas import ACCENT, ENERGY_MAP, animate, blank
from stages.plots.landscape import Grid, format_axes

Array = NDArray[Any]
SIZE = (4.4, 4.0)
"""Size of a frame in inches."""


def _setup(grid: Grid, energy: Array, limits: tuple[float, float], title: str, unit: str) -> tuple[Any, Any, Any]:
    figure = blank(*SIZE)
    axes = figure.add_subplot()
    image = axes.imshow(
        energy,
        extent=grid.extent,
        origin="lower",
        cmap=ENERGY_MAP,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="bilinear",
    )
    format_axes(axes, grid, title)
    figure.colorbar(image, ax=axes, label=unit, shrink=0.85)
    return figure, axes, image


def _step_label(axes: Any) -> Any:
    """White text with a dark outline, readable on both ends of the colour scale."""
    outline = [withStroke(linewidth=2, foreground="black")]
    return axes.text(0.03, 0.96, "", transform=axes.transAxes, va="top", color="white", fontsize=9, path_effects=outline)


def walk(grid: Grid, energies: Array, path: Array, points: Array, title: str) -> list[NDArray[np.uint8]]:
    """The energy of a joint embedding while its reference point moves along a path.

    Args:
        grid: the nodes.
        energies: −cos to the reference point in each frame (F, H, W).
        path: the reference point in each frame (F, 2).
        points: test points (N, 2).
        title: above the map.
    """
    figure, axes, image = _setup(grid, energies[0], (-1, 1), title, "−cos to the reference point")
    dots = axes.scatter(*points.T, s=2, c="white", alpha=0.35, linewidths=0, zorder=2)
    (star,) = axes.plot(*path[0], "*", ms=12, c=ACCENT, mec="white", zorder=3)

    def update(frame: int) -> None:
        image.set_data(energies[frame])
        star.set_data(path[frame, :1], path[frame, 1:])

    return animate(figure, [image, dots, star], update, len(path))


def training(
    grid: Grid, energies: Array, steps: Array, limits: tuple[float, float], title: str, unit: str
) -> list[NDArray[np.uint8]]:
    """The energy landscape over training; the last snapshot is held.

    Args:
        grid: the nodes.
        energies: energy at each snapshot (T, H, W).
        steps: training step of each snapshot (T,).
        limits: ends of the colour scale.
        title: above the map.
        unit: label of the colour bar.
    """
    figure, axes, image = _setup(grid, energies[0], limits, title, unit)
    label = _step_label(axes)

    def update(frame: int) -> None:
        snapshot = min(frame, len(steps) - 1)
        image.set_data(np.clip(energies[snapshot], *limits))
        label.set_text(f"step {steps[snapshot]}")

    return animate(figure, [image, label], update, len(steps) + len(steps) // 4)


def particles(
    grid: Grid, energy: Array, snapshots: Array, steps: Array, limits: tuple[float, float], title: str
) -> list[NDArray[np.uint8]]:
    """The particles of a sampler on the energy landscape; the last frame is held.

    Args:
        grid: the nodes.
        energy: the energy in nats (H, W).
        snapshots: particles in each frame (F, N, 2).
        steps: sampler step of each frame (F,).
        limits: ends of the colour scale.
        title: above the map.
    """
    figure, axes, _ = _setup(grid, np.clip(energy, *limits), limits, title, "energy, nats")
    dots = axes.scatter(*snapshots[0].T, s=3, c="white", alpha=0.7, linewidths=0)
    label = _step_label(axes)

    def update(frame: int) -> None:
        snapshot = min(frame, len(snapshots) - 1)
        dots.set_offsets(snapshots[snapshot])
        label.set_text(f"sampler step {steps[snapshot]}")

    return animate(figure, [dots, label], update, len(snapshots) + len(snapshots) // 4)
