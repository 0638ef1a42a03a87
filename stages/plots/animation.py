"""Animations of energy landscapes as frames (H, W, 3); only the moving artists are redrawn in each frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from stages.plots.canvas import ANIMATION_DPI, animate, blank
from stages.plots.colours import REFERENCE
from stages.plots.landscape import COSINE, NATS, Grid, Scale, format_axes

Array = NDArray[Any]
FEW = 500
"""Points in the landscape over training."""
SIZE, SMALL = (4.6, 4.0), (3.6, 3.2)
"""Size of a frame in inches; the landscape over training is small, since its files are committed to Git."""


def _setup(grid: Grid, energy: Array, scale: Scale, title: str, size: tuple[float, float] = SIZE) -> tuple[Any, Any, Any]:
    figure = blank(*size, ANIMATION_DPI)
    axes = figure.add_subplot()
    image = axes.imshow(
        energy,
        extent=grid.extent,
        origin="lower",
        cmap=scale.bands,
        vmin=scale.low,
        vmax=scale.high,
        interpolation="bilinear",
    )
    format_axes(axes, grid, title)
    figure.colorbar(image, ax=axes, shrink=0.85, extend="max" if scale.open_above else "neither", **scale.bar)
    return figure, axes, image


def _label(axes: Any) -> Any:
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
    figure, axes, image = _setup(grid, energies[0], COSINE, title)
    dots = axes.scatter(*points.T, s=2, c="white", alpha=0.35, linewidths=0, zorder=2)
    (star,) = axes.plot(*path[0], "*", ms=13, c=REFERENCE, mec="black", zorder=3)

    def update(frame: int) -> None:
        image.set_data(energies[frame])
        star.set_data(path[frame, :1], path[frame, 1:])

    return animate(figure, [image, dots, star], update, len(path))


def training(
    grid: Grid,
    energies: Array,
    steps: Array,
    scale: Scale,
    points: Array,
    title: str,
    reference: tuple[float, ...] | None = None,
) -> list[NDArray[np.uint8]]:
    """The energy landscape over training; the last snapshot is held.

    Args:
        grid: the nodes.
        energies: energy at each snapshot (T, H, W).
        steps: training step of each snapshot (T,).
        scale: the colour scale.
        points: test points (N, 2).
        title: above the map.
        reference: the reference point of a joint embedding.
    """
    figure, axes, image = _setup(grid, energies[0], scale, title, SMALL)
    moving = [image, axes.scatter(*points[:FEW].T, s=2, c="white", alpha=0.35, linewidths=0, zorder=2)]
    if reference:
        moving += axes.plot(*reference, "*", ms=13, c=REFERENCE, mec="black", zorder=3)
    label = _label(axes)
    shown = every_second(len(steps))

    def update(frame: int) -> None:
        snapshot = shown[min(frame, len(shown) - 1)]
        image.set_data(energies[snapshot])
        label.set_text(f"training step {steps[snapshot]:,}")

    return animate(figure, [*moving, label], update, len(shown) + len(shown) // 4)


def every_second(snapshots: int) -> list[int]:
    """Every second snapshot and the last one, to halve the size of files that are committed to Git."""
    return [*range(0, snapshots - 1, 2), snapshots - 1]


def particles(
    grid: Grid, energies: Array, snapshots: Array, steps: Array, sigmas: Array, title: str
) -> list[NDArray[np.uint8]]:
    """The particles of a sampler on the energy landscape that they move in; the last frame is held.

    Args:
        grid: the nodes.
        energies: the energy in each frame (F, H, W), in nats above the lowest true energy.
        snapshots: particles in each frame (F, N, 2).
        steps: sampler step of each frame (F,).
        sigmas: noise level of each frame (F,).
        title: above the map.
    """
    figure, axes, image = _setup(grid, energies[0], NATS, title)
    dots = axes.scatter(*snapshots[0].T, s=3, c="white", alpha=0.7, linewidths=0)
    label = _label(axes)
    annealed = len(set(sigmas.tolist())) > 1

    def update(frame: int) -> None:
        snapshot = min(frame, len(snapshots) - 1)
        image.set_data(energies[snapshot])
        dots.set_offsets(snapshots[snapshot])
        label.set_text(f"σ = {sigmas[snapshot]:.2g}" if annealed else f"sampler step {steps[snapshot]:,}")

    return animate(figure, [image, dots, label], update, len(snapshots) + len(snapshots) // 4)
