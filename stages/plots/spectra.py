"""Figures of the positive pairs' spectrum: its eigenfunctions, how encoders represent them, and JEPA-SCORE."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.canvas import blank
from stages.plots.colours import BASELINE
from stages.plots.comparison import Shown, panels, placeholder
from stages.plots.fields import JepaScore, Spectrum
from stages.plots.landscape import Grid, format_axes

Array = NDArray[Any]
DEPTH = 9.0
"""Depth below the highest log-density of a view, in nats, down to which eigenfunctions are drawn."""
SIGNED_MAP = colormaps["PuOr"]
"""Values with a sign; white is 0. Readable when colour-blind, and used for nothing else."""
R2_MAP = colormaps["cividis"]
"""R², from 0 to 1."""
SHADES = ("black", "0.55", "0.75", "0.3")
"""Greys of the eigenvalues for different noise of the views."""
LARGEST = 3.0
"""End of the scale of eigenfunctions, whose mean square is 1."""


def eigenfunctions(grid: Grid, spectrum: Spectrum) -> Figure:
    """Maps of ψ₁ … ψ_{K−1} on a common scale, each with its eigenvalue.

    Args:
        grid: the nodes.
        spectrum: the eigenvalues and eigenfunctions.
    """
    if len(spectrum.eigenvalues) < 2:
        return placeholder("The spectrum needs more noise, or modes that lie closer together")
    figure, axes = panels(len(spectrum.eigenvalues) - 1, 2.2, 2.3, columns=8, sharex=True, sharey=True)
    outside = spectrum.log_density < spectrum.log_density.max() - DEPTH
    image: Any = None
    pairs = zip(axes, spectrum.eigenvalues[1:], spectrum.eigenfunctions[1:], strict=False)
    for k, (panel, value, function) in enumerate(pairs, 1):
        panel.set_facecolor("#e6e6e6")
        masked = np.ma.masked_where(outside, function)
        image = panel.imshow(masked, extent=grid.extent, origin="lower", cmap=SIGNED_MAP, vmin=-LARGEST, vmax=LARGEST)
        format_axes(panel, grid, f"ψ{_subscript(k)}, λ = {value:.3f}")
    figure.colorbar(image, ax=axes, label="ψ, with mean 0 and variance 1", shrink=0.8, extend="both")
    figure.suptitle(
        f"Eigenfunctions of the positive pairs with views x + {float(spectrum.view_noise):g} ε; grey: hardly any data"
    )
    return figure


@dataclass(frozen=True, kw_only=True)
class Represented:
    """How well an embedding represents the eigenfunctions ψ₁ … ψ_{K−1} for the noise of its own views.

    Args:
        method: its appearance.
        view_noise: s, in units of x.
        eigenvalues: (K − 1,).
        after, before: R² of each eigenfunction, after and before training (K − 1,).
        resolved: whether the seeds resolve the difference of the two (K − 1,).
    """

    method: Shown
    view_noise: float
    eigenvalues: Array
    after: Array
    before: Array
    resolved: Array


def matrix(shown: Sequence[Represented]) -> Figure:
    """R² of each eigenfunction for each method, after and before training, and the difference, below the eigenvalues."""
    if not shown:
        return placeholder("No method in this run has an embedding with a computable spectrum")
    rows = sorted(shown, key=lambda one: one.view_noise)
    count = max(len(one.eigenvalues) for one in rows)
    spectra = {one.view_noise: one.eigenvalues for one in rows}
    figure = blank(20, 0.34 * len(shown) + 2.7)
    grid = figure.subplots(2, 3, height_ratios=(1.1, 0.34 * len(shown)), sharex=True)
    after, before = (np.full((len(rows), count), np.nan) for _ in range(2))
    resolved = np.zeros((len(rows), count), dtype=bool)
    for row, one in enumerate(rows):
        places = slice(len(one.eigenvalues))
        after[row, places], before[row, places], resolved[row, places] = one.after, one.before, one.resolved
    tables = (
        ("after training", after),
        ("before training", before),
        ("difference; grey: not resolved by the seeds", after - before),
    )
    images: list[Any] = []
    for column, (title, values) in enumerate(tables):
        bars, table = grid[:, column]
        for shade, (noise, eigenvalues) in zip(itertools.cycle(SHADES), spectra.items(), strict=False):
            bars.plot(
                np.arange(1, len(eigenvalues) + 1), eigenvalues, "o-", color=shade, markersize=3, lw=1, label=f"s = {noise:g}"
            )
        bars.set(ylim=(0, 1.05), title=title, ylabel="λ" if column == 0 else "")
        bars.legend(fontsize=7, title="noise of the views", title_fontsize=7)
        scale: dict[str, Any] = (
            {"cmap": SIGNED_MAP, "vmin": -1, "vmax": 1} if column == 2 else {"cmap": R2_MAP, "vmin": 0, "vmax": 1}
        )
        images.append(table.imshow(values, aspect="auto", extent=(0.5, count + 0.5, len(rows) - 0.5, -0.5), **scale))
        for (row, place), value in np.ndenumerate(values):
            if np.isfinite(value):
                text, colour = _difference(value, bool(resolved[row, place])) if column == 2 else _share(value)
                table.text(place + 1, row, text, ha="center", va="center", fontsize=7, color=colour)
        names = [f"{one.method.title}, s = {one.view_noise:g}" for one in rows]
        table.set_yticks(range(len(rows)), names if column == 0 else [""] * len(rows), fontsize=8)
        table.set_xticks(range(1, count + 1))
        table.set_xlabel("eigenfunction")
    figure.colorbar(images[0], ax=grid[1, :2].tolist(), label="R²", fraction=0.02)
    figure.colorbar(images[2], ax=grid[1, 2], label="difference of R²", fraction=0.04)
    figure.suptitle(
        "R² of the eigenfunctions of the positive pairs, regressed on the embedding; mean over seeds; s: view noise"
    )
    return figure


def _share(value: float) -> tuple[str, str]:
    """The text of an R² and its colour."""
    return "1" if value > 0.995 else f"{value:.2f}".lstrip("0"), "white" if value < 0.6 else "black"


def _difference(value: float, resolved: bool) -> tuple[str, str]:
    """The text of a difference of R² and its colour."""
    text = f"{value:+.2f}".replace("0.", ".")
    return text, "0.6" if not resolved else "white" if abs(value) > 0.6 else "black"


def jepa_scores(shown: Mapping[str, tuple[Shown, JepaScore, float, float]]) -> Figure:
    """JEPA-SCORE against log p at the test points, one panel per method, trained and untrained.

    Args:
        shown: method to its appearance, the scores of the first seed, and the rank correlations with log p over all seeds,
            after and before training.
    """
    if not shown:
        return placeholder("No method in this run has an embedding")
    figure, axes = panels(len(shown), 2.8, 2.7, columns=5, sharex=True)
    for panel, (method, scores, after, before) in zip(axes, shown.values(), strict=False):
        for values, colour in ((scores.untrained, BASELINE), (scores.trained, method.colour)):
            panel.scatter(scores.log_density, values, s=2, c=colour, alpha=0.35, linewidths=0)
        panel.set_title(f"{method.title}\ntrained {after:+.2f}, untrained {before:+.2f}", fontsize=9)
        panel.set_xlabel("log p, nats")
        panel.tick_params(labelbottom=True)
    axes[0].set_ylabel("JEPA-SCORE, ½ log det JᵀJ")
    figure.suptitle(
        "JEPA-SCORE against the true log-density, first seed; grey: untrained; numbers: Spearman's correlation over all seeds"
    )
    return figure


def _subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
