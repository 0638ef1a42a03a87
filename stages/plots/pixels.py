"""Pictures of score-based methods on images. Images (..., H, W), or (..., H, W, 3) in colour, have values in [0, 1]."""

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
EXACT = 1e-12
"""Errors below this are rounding."""


def samples(rows: dict[str, Array], title: str) -> Figure:
    """Rows of images (K, H, W) or (K, H, W, 3), with the name of each row at its left."""
    return sheets.sheet({name: images[:COLUMNS] for name, images in rows.items()}, title)


def score_errors(sigmas: Array, within: tuple[Array, Array], outside: tuple[Array, Array], title: str, colour: str) -> Figure:
    """The relative Fisher divergence at each noise level: of a method, and of the best affine score, which knows no modes.

    Args:
        sigmas: noise levels (L,).
        within: along the principal components: of the method and of the affine score, (L,) each.
        outside: outside of them; the affine score is exact there.
        title: above the plot.
        colour: of the method.
    """
    figure = blank(8.4, 3.6)
    parts = {"along the principal components": within, "outside of them": outside}
    for axes, (name, (learned, affine)) in zip(figure.subplots(1, 2, sharey=True), parts.items(), strict=True):
        if affine.min() > EXACT:
            axes.loglog(sigmas, affine, "s--", c=BASELINE, ms=4, label="best affine score")
        axes.loglog(sigmas, learned, "o-", c=colour, label="learned score")
        axes.axhline(1, c=TRUTH, lw=0.8, ls=":")
        axes.text(sigmas.min(), 1, " zero score", va="bottom", ha="left", fontsize=8, color=TRUTH)
        axes.set(xlabel="noise level σ, pixel values from −1 to 1", title=name)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=8)
        axes.label_outer()
    figure.axes[0].set_ylabel("relative Fisher divergence ↓")
    figure.suptitle(title)
    return figure


def mode_weights(found: Array, controlled: Array, true: Array, title: str, colour: str) -> Figure:
    """The share of the samples in each mode, that of the same sampler with the true score, and the mode weights, (K,) each."""
    figure = blank(6.4, 3.2)
    axes = figure.add_subplot()
    place = np.arange(len(true))
    axes.bar(place - 0.27, true, 0.27, color=TRUTH_FILL, ec=TRUTH, label="true weight")
    axes.bar(place, controlled, 0.27, color=BASELINE, label="samples with the true score")
    axes.bar(place + 0.27, found, 0.27, color=colour, label="samples")
    axes.set(xlabel="mode of the mixture", ylabel="share", xticks=place, xticklabels=[str(k + 1) for k in place])
    axes.legend(fontsize=8)
    axes.set_title(title)
    return figure


def denoising(walk: Array, levels: Array, title: str) -> list[NDArray[np.uint8]]:
    """Images on the way from noise to samples, as a square of images; the last frame is held.

    Args:
        walk: images in each frame (F, N, H, W), or (F, N, H, W, 3) in colour.
        levels: noise level of each frame (F,).
        title: above the images.
    """
    side = int(np.sqrt(walk.shape[1]))
    height, width, *channels = walk.shape[2:]
    images = walk[:, : side**2].reshape(len(walk), side, side, height, width, *channels)
    mosaic = images.swapaxes(2, 3).reshape(len(walk), side * height, side * width, *channels)
    figure = blank(4, 4.4, ANIMATION_DPI)
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_title(title, fontsize=9)
    picture = sheets.draw_image(axes, mosaic[0], sharp=height <= sheets.SHARP)
    label = figure.text(0.5, 0.02, "", ha="center", va="bottom", fontsize=9)

    def update(frame: int) -> None:
        shown = min(frame, len(walk) - 1)
        picture.set_data(mosaic[shown])
        label.set_text(f"noise level σ = {levels[shown]:.2g}")

    return animate(figure, [picture, label], update, len(walk) + len(walk) // 3)
