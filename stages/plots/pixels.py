"""Pictures of score-based methods on images. Images are vectors with values in [−1, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from stages.plots import sheets
from stages.plots.canvas import ANIMATION_DPI, animate, blank
from stages.plots.colours import BASELINE, TRUTH, TRUTH_FILL

Array = NDArray[Any]
COLUMNS = 12
"""Images in a row of the sheet."""


def grey(x: Array, shape: tuple[int, ...]) -> Array:
    """Vectors (..., d) as grey values (..., H, W) from 0 to 1; values beyond are cut."""
    return ((x.clip(-1, 1) + 1) / 2).reshape(*x.shape[:-1], *shape)


def samples(rows: dict[str, Array], shape: tuple[int, ...], title: str) -> Figure:
    """Rows of images (K, d), with the name of each row at its left."""
    return sheets.sheet({name: grey(x[:COLUMNS], shape) for name, x in rows.items()}, title)


def score_errors(sigmas: Array, learned: Array, normal: Array, title: str, colour: str) -> Figure:
    """The relative Fisher divergence at each noise level: of a method, and of the best score without modes.

    Args:
        sigmas: noise levels (L,).
        learned: of the method (L,).
        normal: of the normal density with the moments of the mixture (L,).
        title: above the plot.
        colour: of the method.
    """
    figure = blank(5.2, 3.6)
    axes = figure.add_subplot()
    axes.loglog(sigmas, normal, "s--", c=BASELINE, ms=4, label="score of one normal density")
    axes.loglog(sigmas, learned, "o-", c=colour, label="learned score")
    axes.axhline(1, c=TRUTH, lw=0.8, ls=":")
    axes.text(sigmas.min(), 1, " zero score", va="bottom", ha="left", fontsize=8, color=TRUTH)
    axes.set(xlabel="noise level σ, in units of the pixel values from −1 to 1", ylabel="relative Fisher divergence (0 is best)")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="lower right", fontsize=8)
    axes.set_title(title)
    return figure


def mode_weights(found: Array, true: Array, title: str, colour: str) -> Figure:
    """The share of the samples in each mode beside the mode weights, (K,) each."""
    figure = blank(5.2, 3.2)
    axes = figure.add_subplot()
    place = np.arange(len(true))
    axes.bar(place - 0.2, true, 0.4, color=TRUTH_FILL, ec=TRUTH, label="true weight")
    axes.bar(place + 0.2, found, 0.4, color=colour, label="share of the samples")
    axes.set(xlabel="mode of the mixture", ylabel="share", xticks=place, xticklabels=[str(k + 1) for k in place])
    axes.legend(fontsize=8)
    axes.set_title(title)
    return figure


def denoising(walk: Array, levels: Array, shape: tuple[int, ...], title: str) -> list[NDArray[np.uint8]]:
    """Images on the way from noise to samples, as squares of images; the last frame is held.

    Args:
        walk: images in each frame (F, N, d).
        levels: noise level of each frame (F,).
        shape: H and W.
        title: above the images.
    """
    side = int(np.sqrt(walk.shape[1]))
    height, width = shape
    images = grey(walk[:, : side**2], shape).reshape(len(walk), side, side, height, width)
    mosaic = images.transpose(0, 1, 3, 2, 4).reshape(len(walk), side * height, side * width)
    figure = blank(4, 4.4, ANIMATION_DPI)
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_title(title, fontsize=9)
    picture = axes.imshow(mosaic[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    label = figure.text(0.5, 0.02, "", ha="center", va="bottom", fontsize=9)

    def update(frame: int) -> None:
        shown = min(frame, len(walk) - 1)
        picture.set_data(mosaic[shown])
        label.set_text(f"noise level σ = {levels[shown]:.2g}")

    return animate(figure, [picture, label], update, len(walk) + len(walk) // 3)
