"""Energy landscapes in the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.canvas import ACCENT, ENERGY_MAP, blank

Array = NDArray[Any]
LEVELS = 25
"""Contour levels of a landscape."""
DEPTH = 20.0
"""Range of the colour scale, in nats above the lowest true energy."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The nodes at which fields are evaluated: x (W,) and y (H,)."""

    x: Array
    y: Array

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The box (left, right, bottom, top) for `imshow`, half a cell beyond the outer nodes."""
        dx, dy = (self.x[1] - self.x[0]) / 2, (self.y[1] - self.y[0]) / 2
        return (self.x[0] - dx, self.x[-1] + dx, self.y[0] - dy, self.y[-1] + dy)


def format_axes(axes: Axes, grid: Grid, title: str) -> None:
    """Set equal scales, the limits of the grid, a title and axis labels."""
    axes.set_aspect("equal")
    axes.set_xlim(grid.x[0], grid.x[-1])
    axes.set_ylim(grid.y[0], grid.y[-1])
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("x₀")
    axes.set_ylabel("x₁")


def draw(axes: Axes, grid: Grid, energy: Array, limits: tuple[float, float], title: str) -> Any:
    """Draw filled contours of an energy (H, W); values outside `limits` get the colour of the nearer limit."""
    levels = np.linspace(*limits, LEVELS)
    # In double precision, as the levels: a limit rounded to single precision may exceed the last level and be left white.
    filled = axes.contourf(grid.x, grid.y, np.clip(energy.astype(np.float64), *limits), levels=levels, cmap=ENERGY_MAP)
    format_axes(axes, grid, title)
    return filled


def joint_embedding(grid: Grid, energy: Array, points: Array, reference: tuple[float, float], title: str) -> Figure:
    """The energy of a joint embedding, −cos(f(x), f(reference)), on a scale from −1 to 1.

    The scale is fixed, so a collapsed embedding looks flat.

    Args:
        grid: the nodes.
        energy: −cos to the reference point (H, W).
        points: test points (N, 2).
        reference: the reference point.
        title: above the map.
    """
    figure = blank(5.6, 4.9)
    axes = figure.add_subplot()
    filled = draw(axes, grid, energy, (-1, 1), title)
    axes.scatter(points[:, 0], points[:, 1], s=2, c="white", alpha=0.35, linewidths=0, label="test points")
    axes.plot(*reference, "*", ms=13, c=ACCENT, mec="white", label="reference point")
    axes.legend(loc="lower right", fontsize=7, facecolor="#31688e", labelcolor="white", framealpha=0.9, markerscale=1.5)
    figure.colorbar(filled, ax=axes, label="energy, −cos(f(x), f(reference))", ticks=[-1, -0.5, 0, 0.5, 1])
    return figure


def score(grid: Grid, energy: Array, log_density: Array, field: Array, points: Array, title: str) -> Figure:
    """The learned energy and score of a method, beside the true energy on the same scale.

    Args:
        grid: the nodes.
        energy: the learned energy (H, W), in nats.
        log_density: the analytic log-density of the target (H, W), in nats.
        field: the learned score (H, W, 2), drawn as arrows with lengths proportional to the square root of its norm.
        points: test points (N, 2).
        title: above the learned energy.
    """
    figure = blank(9.6, 4.6)
    left, right = figure.subplots(1, 2)
    lowest = float(-log_density.max())
    limits = (lowest, lowest + DEPTH)
    draw(left, grid, energy, limits, title)
    left.scatter(points[:, 0], points[:, 1], s=1, c="white", alpha=0.25, linewidths=0)
    step = max(len(grid.x) // 18, 1)
    arrows = field[step // 2 :: step, step // 2 :: step]
    length = np.linalg.norm(arrows, axis=-1, keepdims=True)
    arrows = arrows / np.sqrt(np.maximum(length, 1e-9))
    if length.any():
        left.quiver(
            grid.x[step // 2 :: step], grid.y[step // 2 :: step], *np.moveaxis(arrows, -1, 0), color="white", width=0.003
        )
    filled = draw(right, grid, -log_density, limits, "truth: −log p(x) of the target density")
    right.scatter(points[:, 0], points[:, 1], s=2, c="white", alpha=0.35, linewidths=0)
    figure.colorbar(filled, ax=[left, right], label="energy, nats", shrink=0.9, format="%.0f")
    return figure
