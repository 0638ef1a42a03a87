"""Frames per second of a landscape's animation, compared with redrawing the figure for each frame.

Ours is `training.gif` as stage mog_figures draws it: the figure once, then only the image and the step of each frame. The other
side draws the figure, its filled contours and its colour bar for each frame. Neither side encodes the GIF.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Row, three_digits
from benchmarks.turns import speedup, take_turns
from stages.config.mixture import chosen
from stages.config.params import Params
from stages.mog.problem import setup
from stages.plots import animation, canvas, landscape
from stages.plots.landscape import NATS, Grid

Array = NDArray[Any]
TITLE = "training"
NO_POINTS = np.zeros((0, 2))
"""Both sides draw the landscape alone."""


def formation(params: Params) -> tuple[Grid, Array, Array]:
    """Grid, energies (T, H, W) and steps (T,): the true energy scaled from 0 to 1, with the pipeline's sizes."""
    x, y = setup.grid_axes(chosen(params.mog), params.mog.evaluation.grid)
    nodes = np.stack(np.meshgrid(x, y), -1)
    energy = -setup.mixture(chosen(params.mog)).log_density(nodes)
    share = np.linspace(0, 1, params.mog.snapshots)[:, None, None]
    return Grid(x=x, y=y), share * (energy - energy.min()), np.arange(params.mog.snapshots)


def redrawn(grid: Grid, energy: Array, step: int) -> NDArray[np.uint8]:
    """One frame (H, W, 3), drawn with the whole figure."""
    figure = canvas.blank(*animation.SMALL, canvas.ANIMATION_DPI)
    axes = figure.add_subplot()
    filled = landscape.draw(axes, grid, energy, NATS, TITLE)
    figure.colorbar(filled, ax=axes, shrink=0.85, **NATS.bar)
    axes.text(0.03, 0.96, f"step {step}", transform=axes.transAxes, va="top", color="white", fontsize=9)
    agg: Any = figure.canvas
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].copy()


def rows(params: Params, *, frames: int, turns: int) -> list[Row]:
    """The pipeline's animation compared with `frames` redrawn frames."""
    grid, energies, steps = formation(params)

    def ours() -> float:
        started = time.perf_counter()
        images = animation.training(grid, energies, steps, NATS, NO_POINTS, TITLE)
        return (time.perf_counter() - started) / len(images)

    def theirs() -> float:
        snapshots = np.linspace(0, len(steps) - 1, frames).round().astype(int)
        started = time.perf_counter()
        for snapshot in snapshots:
            redrawn(grid, energies[snapshot], int(steps[snapshot]))
        return (time.perf_counter() - started) / frames

    fast, slow = take_turns([ours, theirs], turns)
    return [
        Row(
            measured=f"animation of a landscape on {params.mog.evaluation.grid} × {params.mog.evaluation.grid} nodes",
            ours=f"{three_digits(1 / median(fast))} frames/s",
            compared="the whole figure redrawn for each frame, with filled contours",
            theirs=f"{three_digits(1 / median(slow))} frames/s",
            ratio=speedup(fast, slow),
        )
    ]
