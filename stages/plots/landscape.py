"""Energy landscapes in the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.canvas import blank
from stages.plots.colours import ACCENT, BANDS, COSINE_MAP, ENERGY_MAP, REFERENCE, TRUTH_FILL

Array = NDArray[Any]
DEPTH = 20.0
"""Range of the colour scale of energies, in nats above the lowest true energy."""
ARROWS = 15
"""Arrows along each side of a map."""
ARROW_NOTE = "arrows: ∇ log p, length ∝ √‖∇ log p‖"
"""What the arrows of a map are."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The colour scale of an energy."""

    colours: Colormap
    low: float
    high: float
    ticks: tuple[float, ...]
    label: str
    open_above: bool
    """Whether values above `high` occur; they get the colour of `high`, and the colour bar an arrow."""

    @property
    def bands(self) -> Colormap:
        """The colours between the contour levels."""
        return self.colours.resampled(BANDS)

    @property
    def bar(self) -> dict[str, Any]:
        """Arguments of the colour bar."""
        return {"label": self.label, "ticks": self.ticks}


COSINE = Scale(
    colours=COSINE_MAP,
    low=-1,
    high=1,
    ticks=(-1, -0.5, 0, 0.5, 1),
    label="−cos to the reference point",
    open_above=False,
)
"""The energy of a joint embedding. The scale is fixed, so a collapsed embedding looks flat."""
NATS = Scale(
    colours=ENERGY_MAP,
    low=0,
    high=DEPTH,
    ticks=(0, 5, 10, 15, 20),
    label="energy above the lowest true energy, nats",
    open_above=True,
)
"""The energy of a density, −log p, minus the lowest true energy."""


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
    axes.set_title(title)
    axes.set_xlabel("x₀")
    axes.set_ylabel("x₁")


def draw(axes: Axes, grid: Grid, energy: Array, scale: Scale, title: str) -> Any:
    """Draw filled contours of an energy (H, W); values outside the scale get the colour of its nearer end."""
    levels = np.linspace(scale.low, scale.high, BANDS + 1)
    # In double precision, as the levels: a limit rounded to single precision may exceed the last level and be left white.
    shown = energy.astype(np.float64).clip(scale.low, None if scale.open_above else scale.high)
    extend = "max" if scale.open_above else "neither"
    filled = axes.contourf(grid.x, grid.y, shown, levels=levels, cmap=scale.colours, extend=extend)
    format_axes(axes, grid, title)
    return filled


def draw_density(axes: Axes, grid: Grid, log_density: Array, title: str) -> None:
    """Draw a few contours of a density from its logarithm (H, W)."""
    levels = log_density.max() - np.array([8.0, 4.5, 2.0, 0.5])
    axes.contour(grid.x, grid.y, log_density, levels=levels, colors=TRUTH_FILL, linewidths=0.9, linestyles="solid")
    format_axes(axes, grid, title)


def draw_points(axes: Axes, points: Array, size: float = 1.5) -> None:
    """Draw points (N, 2) as translucent white dots, which read on both ends of the colour scales."""
    axes.scatter(points[:, 0], points[:, 1], s=size, c="white", alpha=0.35, linewidths=0)


def draw_reference(axes: Axes, reference: tuple[float, ...], size: float = 12) -> Any:
    """Draw the reference point as a star."""
    (star,) = axes.plot(*reference, "*", ms=size, c=REFERENCE, mec="black", mew=0.8)
    return star


def draw_arrows(axes: Axes, grid: Grid, field: Array, longest: float) -> None:
    """Draw a vector field (H, W, 2) as arrows whose length is proportional to the square root of its norm.

    Args:
        axes: the map.
        grid: the nodes.
        field: the vectors.
        longest: the norm that is drawn as long as the distance of two arrows; a larger one is drawn up to twice as long.
    """
    step = max(len(grid.x) // ARROWS, 1)
    rows, columns = slice(step // 2, None, step), slice(step // 2, None, step)
    vectors = field[rows, columns].astype(np.float64)
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    length = np.sqrt(norm / max(longest, 1e-12)).clip(max=2) * step * (grid.x[1] - grid.x[0])
    if not norm.any():
        return
    vectors *= length / np.maximum(norm, 1e-12)
    axes.quiver(
        grid.x[columns],
        grid.y[rows],
        vectors[..., 0],
        vectors[..., 1],
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.006,
        color="white",
        edgecolor="black",
        linewidth=0.3,
    )


def mark_collapse(axes: Axes) -> None:
    """Frame a map and mark it as that of a collapsed embedding."""
    for spine in axes.spines.values():
        spine.set(color=ACCENT, linewidth=2, visible=True)
    style = {"facecolor": ACCENT, "edgecolor": "none", "boxstyle": "round,pad=0.25"}
    axes.text(0.04, 0.95, "collapsed", transform=axes.transAxes, color="white", va="top", fontsize=8, bbox=style)


def joint_embedding(
    grid: Grid, energy: Array, points: Array, reference: tuple[float, ...], title: str, *, collapsed: bool
) -> Figure:
    """The energy of a joint embedding, −cos(f(x), f(reference)).

    Args:
        grid: the nodes.
        energy: −cos to the reference point (H, W).
        points: test points (N, 2).
        reference: the reference point.
        title: above the map.
        collapsed: whether the embedding has collapsed.
    """
    figure = blank(5.4, 4.6)
    axes = figure.add_subplot()
    filled = draw(axes, grid, energy, COSINE, title)
    draw_points(axes, points)
    star = draw_reference(axes, reference)
    axes.legend([star], ["reference point"], loc="lower right", facecolor="#00000099", labelcolor="white", frameon=True)
    if collapsed:
        mark_collapse(axes)
    figure.colorbar(filled, ax=axes, **COSINE.bar)
    return figure


def score(
    grid: Grid, energies: tuple[Array, Array], fields: tuple[Array, Array], points: Array, title: str, target: str
) -> Figure:
    """The learned energy and score of a method beside the true ones, on the same scales.

    Args:
        grid: the nodes.
        energies: the learned and the true energy (H, W), in nats above the lowest true one.
        fields: the learned and the true score (H, W, 2).
        points: test points (N, 2).
        title: above the learned energy.
        target: above the true energy.
    """
    figure = blank(9.6, 4.7)
    longest = float(np.linalg.norm(fields[1], axis=-1).max())
    panels = figure.subplots(1, 2)
    for axes, energy, field, heading in zip(panels, energies, fields, (title, target), strict=True):
        filled = draw(axes, grid, energy, NATS, heading)
        draw_points(axes, points)
        draw_arrows(axes, grid, field, longest)
    figure.colorbar(filled, ax=list(panels), shrink=0.9, **NATS.bar)
    figure.supxlabel(ARROW_NOTE, fontsize=8)
    return figure


def noise_levels(
    grid: Grid,
    levels: list[tuple[float, Array, Array, Array, Array]],
    particles: list[Array],
    title: str,
) -> Figure:
    """Energy and score at several noise levels, learned above and true below, with the sampler's particles.

    Args:
        grid: the nodes.
        levels: σ, learned energy (H, W) and score (H, W, 2), true energy and score, at each noise level; energies in nats above
            the lowest true one.
        particles: the particles (N, 2) at the end of each noise level.
        title: above the panels.
    """
    figure = blank(2.3 * len(levels) + 1, 5.2)
    panels = figure.subplots(2, len(levels), squeeze=False)
    for column, ((sigma, *shown), positions) in enumerate(zip(levels, particles, strict=True)):
        longest = float(np.linalg.norm(shown[3], axis=-1).max())
        for axes, energy, field in zip(panels[:, column], shown[::2], shown[1::2], strict=True):
            filled = draw(axes, grid, energy, NATS, f"σ = {sigma:.2g}" if axes is panels[0, column] else "")
            draw_arrows(axes, grid, field, longest)
            axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        panels[0, column].scatter(*positions.T, s=2.5, c=ACCENT, linewidths=0, alpha=0.8)
    panels[0, 0].set_ylabel("learned, with particles")
    panels[1, 0].set_ylabel("truth")
    figure.colorbar(filled, ax=list(panels.ravel()), shrink=0.8, **NATS.bar)
    figure.suptitle(title)
    figure.supxlabel(f"{ARROW_NOTE}, to scale within a column", fontsize=8)
    return figure
