"""Animations of landscapes: frames (H, W, 3), of which only what moves is drawn again."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from stages.plots.canvas import ACCENT, ENERGY_MAP, animate, blank
from stages.plots.landscape import Grid, dress

Array = NDArray[Any]
SIZE = (4.4, 4.0)


def _stage(grid: Grid, energy: Array, limits: tuple[float, float], title: str, unit: str) -> tuple[Any, Any, Any]:
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
    dress(axes, grid, title)
    figure.colorbar(image, ax=axes, label=unit, shrink=0.85)
    return figure, axes, image


def _step_label(axes: Any) -> Any:
    """White text with a dark rim, readable on both ends of the colour scale."""
    rim = [withStroke(linewidth=2, foreground="black")]
    return axes.text(0.03, 0.96, "", transform=axes.transAxes, va="top", color="white", fontsize=9, path_effects=rim)


def walk(grid: Grid, energies: Array, path: Array, points: Array, title: str) -> list[NDArray[np.uint8]]:
    """The reference point walks along `path` (F, 2) and the energy to it (F, H, W) follows."""
    figure, axes, image = _stage(grid, energies[0], (-1, 1), title, "−cos to the reference point")
    dots = axes.scatter(*points.T, s=2, c="white", alpha=0.35, linewidths=0, zorder=2)
    (star,) = axes.plot(*path[0], "*", ms=12, c=ACCENT, mec="white", zorder=3)

    def update(frame: int) -> None:
        image.set_data(energies[frame])
        star.set_data(path[frame, :1], path[frame, 1:])

    return animate(figure, [image, dots, star], update, len(path))


def training(
    grid: Grid, energies: Array, steps: Array, limits: tuple[float, float], title: str, unit: str
) -> list[NDArray[np.uint8]]:
    """How the landscape (T, H, W) forms over the training steps (T,); the last snapshot is held for a while."""
    figure, axes, image = _stage(grid, energies[0], limits, title, unit)
    label = _step_label(axes)

    def update(frame: int) -> None:
        snapshot = min(frame, len(steps) - 1)
        image.set_data(np.clip(energies[snapshot], *limits))
        label.set_text(f"step {steps[snapshot]}")

    return animate(figure, [image, label], update, len(steps) + len(steps) // 4)


def particles(
    grid: Grid, energy: Array, snapshots: Array, steps: Array, limits: tuple[float, float], title: str
) -> list[NDArray[np.uint8]]:
    """Particles (F, N, 2) walk into the wells of the energy (H, W), shown after the sampler's steps (F,); the end is held."""
    figure, axes, _ = _stage(grid, np.clip(energy, *limits), limits, title, "energy, nats")
    dots = axes.scatter(*snapshots[0].T, s=3, c="white", alpha=0.7, linewidths=0)
    label = _step_label(axes)

    def update(frame: int) -> None:
        snapshot = min(frame, len(snapshots) - 1)
        dots.set_offsets(snapshots[snapshot])
        label.set_text(f"sampler step {steps[snapshot]}")

    return animate(figure, [dots, label], update, len(snapshots) + len(snapshots) // 4)
