"""Sheets of small images. Each is one picture on one pair of axes: a pair of axes per image takes minutes for some hundreds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stages.plots.canvas import ACCENT, blank

Array = NDArray[Any]
GAP = 3
"""White pixels between two images."""
MOST = 160
"""Mistakes on one sheet."""
COLUMNS = 16
"""Mistakes in a row."""


def _grey(images: Array) -> Array:
    """Bytes, or floats in [0, 1], as floats in [0, 1]."""
    return images / 255 if images.dtype == np.uint8 else images


def _tiles(axes: Axes, rows: Sequence[Sequence[Array | None]]) -> tuple[int, int]:
    """Draw a grid of grey images (H, W) in [0, 1], with white where there is None; returns the height and width of a tile.

    The upper left pixel of the image in row i and column j is at (j · width, i · height) in the coordinates of the axes.
    """
    shapes = {image.shape for row in rows for image in row if image is not None} or {(1, 1)}
    (height, width), *_ = shapes
    across = max((len(row) for row in rows), default=1)
    mosaic = np.ones((max(len(rows), 1) * (height + GAP), max(across, 1) * (width + GAP)))
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image is not None:
                top, left = i * (height + GAP), j * (width + GAP)
                mosaic[top : top + height, left : left + width] = image
    axes.imshow(mosaic, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    return height + GAP, width + GAP


def sheet(rows: Mapping[str, Array], title: str, columns: Sequence[str] = ()) -> Figure:
    """Rows of grey images, each (K, H, W) on a common scale from 0 to its type's maximum, with the row's name at the left.

    Args:
        rows: name to images; bytes or floats in [0, 1].
        title: above the sheet.
        columns: headings over the columns.
    """
    count = max(len(images) for images in rows.values())
    figure = blank(1.6 + 0.62 * count, 0.7 + 0.66 * len(rows))
    axes = figure.add_subplot()
    height, width = _tiles(axes, [list(_grey(images)) for images in rows.values()])
    for row, name in enumerate(rows):
        axes.text(-0.15 * width, (row + 0.5) * height - GAP, name, ha="right", va="center", fontsize=8)
    for column, heading in zip(range(count), columns, strict=False):
        axes.text((column + 0.5) * width - GAP, -GAP, heading, ha="center", va="bottom", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


def mistakes(images: Array, true: Array, predicted: Array, title: str) -> Figure:
    """Images (N, H, W) that were assigned to another class: the most frequent confusions first, one page at most.

    Args:
        images: bytes.
        true: their labels (N,).
        predicted: the classes that they were assigned to (N,).
        title: above the sheet; how many of the mistakes are shown is added.
    """
    pairs = list(zip(true.tolist(), predicted.tolist(), strict=True))
    often = Counter(pairs)
    order = sorted(range(len(pairs)), key=lambda i: (-often[pairs[i]], pairs[i], i))[:MOST]
    lines = max(-(-len(order) // COLUMNS), 1)
    figure = blank(0.6 * COLUMNS, 0.6 + 0.8 * lines)
    axes = figure.add_subplot()
    image_height = images.shape[1]
    # A label stands in a strip above each image.
    strip = round(0.45 * image_height)
    padded = np.pad(_grey(images[order]), ((0, 0), (strip, 0), (0, 0)), constant_values=1.0)
    grid = [[*padded[row * COLUMNS : (row + 1) * COLUMNS]] for row in range(lines)]
    grid[0] += [None] * (COLUMNS - len(grid[0]))
    height, width = _tiles(axes, grid)
    for place, index in enumerate(order):
        row, column = divmod(place, COLUMNS)
        label = f"{pairs[index][0]} → {pairs[index][1]}"
        axes.text((column + 0.5) * width - GAP, row * height + strip - 2, label, ha="center", va="bottom", fontsize=8)
    shown = f"{len(order)} of {len(pairs)}" if len(order) < len(pairs) else f"all {len(pairs)}"
    figure.suptitle(f"{title}, {shown} mistakes, the most frequent confusions first: true → predicted", fontsize=9)
    return figure


def neighbours(queries: Array, nearest: Array, right: Array, title: str) -> Figure:
    """A row for each query: the image (H, W), then its nearest neighbours; a frame marks those of another class.

    Args:
        queries: (Q, H, W), bytes.
        nearest: (Q, K, H, W), the nearest first.
        right: whether each is of the query's class, (Q, K).
        title: above the sheet.
    """
    count, columns = nearest.shape[:2]
    figure = blank(0.62 * (columns + 1.4), 0.6 + 0.62 * count)
    axes = figure.add_subplot()
    rows = [[query, None, *others] for query, others in zip(_grey(queries), _grey(nearest), strict=True)]
    height, width = _tiles(axes, rows)
    for row, fits in enumerate(right):
        for column, fit in enumerate(fits):
            if not fit:
                corner = ((column + 2) * width - 1.5, row * height - 1.5)
                axes.add_patch(Rectangle(corner, width - GAP + 2, height - GAP + 2, fill=False, ec=ACCENT, lw=2.5))
    axes.text(0.5 * width - GAP, -GAP, "query", ha="center", va="bottom", fontsize=8)
    axes.text(2.5 * width - GAP, -GAP, "nearest", ha="center", va="bottom", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure
