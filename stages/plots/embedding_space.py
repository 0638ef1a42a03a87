"""The embedding space: test points on principal components, and the spectrum of their embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots.canvas import blank
from stages.plots.colours import ACCENT, BASELINE, CLASSES
from stages.plots.comparison import Shown

Array = NDArray[Any]
LIMITS = (-1.4, 1.4)
"""Ends of both axes: points of the unit sphere, centred."""
FLOOR = 1e-6
"""Standard deviations below it are drawn as if they were so large; those of normalised embeddings are at most 1."""


def normalised(embeddings: Array) -> Array:
    """L2-normalised embeddings (N, D), in double precision."""
    z = embeddings.astype(np.float64)
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12))


def principal_components(embeddings: Array) -> tuple[Array, Array]:
    """L2-normalised embeddings (N, D) on their first two principal components, and the spectrum.

    Returns:
        The projected embeddings (N, 2), and the standard deviation along every principal component (min(N, D),): the singular
        values of the centred embeddings divided by √N.
    """
    centred = normalised(embeddings)
    centred -= centred.mean(0)
    _, singular, components = np.linalg.svd(centred, full_matrices=False)
    # The sign of a component is arbitrary; the largest entry of each is made positive.
    signs = np.sign(components[np.arange(len(components)), np.abs(components).argmax(1)])
    return (centred @ (components * signs[:, None])[:2].T), singular / np.sqrt(len(centred))


def _scatter(axes: Axes, projected: Array, component: NDArray[np.int64], title: str) -> None:
    colours = [CLASSES[k % len(CLASSES)] for k in component]
    axes.scatter(projected[:, 0], projected[:, 1], s=4, c=colours, linewidths=0, alpha=0.7)
    axes.set(xlim=LIMITS, ylim=LIMITS, aspect="equal", title=title)
    axes.set_xlabel("first principal component")


def of_method(embeddings: tuple[Array, Array], component: NDArray[np.int64], method: Shown, *, collapsed: bool) -> Figure:
    """The embedding space of a method before and after training, on fixed scales, with the spectrum of both.

    A collapse shows as a point, a low rank as a line with a falling spectrum, a spread-out embedding as a filled disk.

    Args:
        embeddings: of the test points before and after training (N, D).
        component: the component of each test point (N,).
        method: the method's appearance.
        collapsed: whether the embedding has collapsed.
    """
    figure = blank(9.6, 3.5)
    panels = figure.subplots(1, 3)
    spectra = []
    for axes, z, title in zip(panels, embeddings, ("before training", "after training"), strict=False):
        projected, spectrum = principal_components(z)
        spectra.append(spectrum)
        _scatter(axes, projected, component, title)
    panels[0].set_ylabel("second principal component")
    if collapsed:
        panels[1].text(0.5, 0.9, "collapsed", transform=panels[1].transAxes, ha="center", color=ACCENT, fontweight="bold")
    for spectrum, colour, label in zip(spectra, (BASELINE, method.colour), ("before", "after"), strict=True):
        places = np.arange(1, len(spectrum) + 1)
        panels[2].plot(places, np.maximum(spectrum, FLOOR), "o-", ms=3.5, lw=1.3, c=colour, label=label)
    panels[2].set(yscale="log", title="spectrum", xlabel="principal component", ylabel="standard deviation", ylim=(FLOOR, 2))
    panels[2].legend(loc="lower left")
    figure.suptitle(f"{method.title}: L2-normalised embeddings of the test points, coloured by mode, first seed")
    return figure


def overview(shown: Mapping[str, tuple[Shown, Array, bool]], component: NDArray[np.int64]) -> Figure:
    """The embedding spaces of all methods after training, each with its spectrum.

    Args:
        shown: method to its appearance, the embeddings (N, D) and whether they have collapsed.
        component: the component of each test point (N,).
    """
    columns = min(max(len(shown), 1), 4)
    rows = max(-(-len(shown) // columns), 1)
    figure = blank(2.5 * columns, 3.4 * rows)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=(2.6, 1) * rows)
    for axes in grid.ravel():
        axes.axis("off")
    for place, (method, z, collapsed) in enumerate(shown.values()):
        row, column = divmod(place, columns)
        above, below = grid[2 * row, column], grid[2 * row + 1, column]
        projected, spectrum = principal_components(z)
        above.axis("on")
        below.axis("on")
        _scatter(above, projected, component, method.title)
        above.set(xticks=[], yticks=[], xlabel="")
        if collapsed:
            above.text(0.5, 0.88, "collapsed", transform=above.transAxes, ha="center", color=ACCENT, fontweight="bold")
        below.bar(np.arange(1, len(spectrum) + 1), np.maximum(spectrum, FLOOR), color=method.colour)
        below.set(yscale="log", ylim=(1e-4, 1), xticks=[])
        below.set_xlabel("principal component" if row == rows - 1 else "")
        if column == 0:
            below.set_ylabel("std")
    figure.suptitle("Embedding spaces after training: test points coloured by mode, and the spectrum; first seed")
    return figure
