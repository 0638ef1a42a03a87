"""Sheets of small images, each drawn as one mosaic: with separate axes per image, a few hundred images take minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stages.plots.canvas import blank, in_colour
from stages.plots.colours import ACCENT

Array = NDArray[Any]
GAP = 3
"""White pixels between two images."""
PAIRS = 12
"""Confusions on one sheet of misclassified images."""
COLUMNS = 12
"""Misclassified images of a confusion."""
LINE = 28
"""Most characters in a line of a row's name."""
SHARP = 48
"""Largest side of images that are drawn as sharp squares; larger ones have more pixels than their tile and are smoothed."""


def floats(images: Array) -> Array:
    """Images, bytes or floats in [0, 1], as floats in [0, 1]."""
    return images / 255 if images.dtype == np.uint8 else images


def _tiles(axes: Axes, rows: Sequence[Sequence[Array | None]]) -> tuple[int, int]:
    """Draw a grid of images (H, W), or (H, W, 3) in colour, in [0, 1]; None is a white tile.

    Returns:
        Height and width of a tile: the upper left pixel of the image in row i, column j is at (j · width, i · height) in axes
        coordinates.
    """
    shapes = {image.shape for row in rows for image in row if image is not None} or {(1, 1)}
    (height, width, *channels), *_ = shapes
    across = max((len(row) for row in rows), default=1)
    mosaic = np.ones((max(len(rows), 1) * (height + GAP), max(across, 1) * (width + GAP), *channels))
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image is not None:
                top, left = i * (height + GAP), j * (width + GAP)
                mosaic[top : top + height, left : left + width] = image
    draw_image(axes, mosaic, sharp=height <= SHARP)
    axes.axis("off")
    return height + GAP, width + GAP


def draw_image(axes: Axes, image: Array, *, sharp: bool = True) -> AxesImage:
    """Draw an image (H, W), or (H, W, 3) in colour, with values in [0, 1]; values beyond are cut."""
    kind = "nearest" if sharp else "antialiased"
    if in_colour(image):
        return axes.imshow(image.clip(0, 1), interpolation=kind)
    return axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation=kind)


def sheet(rows: Mapping[str, Array], title: str, columns: Sequence[str] = ()) -> Figure:
    """Rows of images, with the name of each row at its left.

    Args:
        rows: name to images (K, H, W), or (K, H, W, 3) in colour, bytes or floats in [0, 1].
        title: above the sheet.
        columns: headings of the columns.
    """
    count = max(len(images) for images in rows.values())
    figure = blank(1.6 + 0.62 * count, 0.7 + 0.66 * len(rows))
    axes = figure.add_subplot()
    height, width = _tiles(axes, [list(floats(images)) for images in rows.values()])
    for row, name in enumerate(rows):
        axes.text(-0.15 * width, (row + 0.5) * height - GAP, fill(name, LINE), ha="right", va="center", fontsize=8)
    for column, heading in zip(range(count), columns, strict=False):
        axes.text((column + 0.5) * width - GAP, -GAP, heading, ha="center", va="bottom", fontsize=8)
    figure.suptitle(title)
    return figure


def mistakes(images: Array, true: Array, predicted: Array, classes: Sequence[str], title: str) -> Figure:
    """Misclassified images, one row per confusion, the most frequent first: at most `PAIRS` rows of `COLUMNS` images.

    Args:
        images: misclassified images (N, H, W), or (N, H, W, 3) in colour, bytes.
        true: true classes (N,).
        predicted: predicted classes (N,).
        classes: names of all classes.
        title: above the sheet; the number of images is added.
    """
    confused = list(zip(true.tolist(), predicted.tolist(), strict=True))
    frequency = Counter(confused)
    pairs = sorted(frequency, key=lambda pair: (-frequency[pair], pair))[:PAIRS]
    long = max(map(len, classes)) > 2
    figure = blank((3 if long else 2.4) + 0.55 * COLUMNS, 0.7 + 0.58 * max(len(pairs), 1))
    # Long names need all the room at the left.
    axes = figure.add_subplot(anchor="E" if long else "C")
    places = [[i for i, pair in enumerate(confused) if pair == wanted][:COLUMNS] for wanted in pairs]
    grid: list[list[Array | None]] = [[floats(images[i]) for i in row] + [None] * (COLUMNS - len(row)) for row in places]
    height, width = _tiles(axes, grid)
    for row, pair in enumerate(pairs):
        more = "" if frequency[pair] <= COLUMNS else f", first {COLUMNS}"
        label = f"{classes[pair[0]]} taken for {classes[pair[1]]}: {frequency[pair]}{more}"
        axes.text(-0.2 * width, (row + 0.5) * height - GAP, fill(label, LINE), ha="right", va="center", fontsize=8)
    rest = f"the {PAIRS} most frequent of {len(frequency)} confusions" if len(frequency) > PAIRS else "by confusion"
    figure.suptitle(f"{title}: {len(confused)} misclassified, {rest}")
    return figure


def neighbours(queries: Array, nearest: Array, same_class: Array, title: str) -> Figure:
    """One row per query: the image, then its nearest neighbours; neighbours of another class are framed.

    Args:
        queries: query images (Q, H, W), or (Q, H, W, 3) in colour, bytes.
        nearest: their neighbours (Q, K, H, W) or (Q, K, H, W, 3), the nearest first, bytes.
        same_class: whether each neighbour has the class of the query (Q, K).
        title: above the sheet.
    """
    count, columns = nearest.shape[:2]
    figure = blank(0.62 * (columns + 1.4), 0.6 + 0.62 * count)
    axes = figure.add_subplot()
    rows = [[query, None, *others] for query, others in zip(floats(queries), floats(nearest), strict=True)]
    height, width = _tiles(axes, rows)
    for row, matches in enumerate(same_class):
        for column, match in enumerate(matches):
            if not match:
                corner = ((column + 2) * width - 1.5, row * height - 1.5)
                axes.add_patch(Rectangle(corner, width - GAP + 2, height - GAP + 2, fill=False, ec=ACCENT, lw=2.5))
    axes.text(0.5 * width - GAP, -GAP, "query", ha="center", va="bottom", fontsize=8)
    axes.text(2.5 * width - GAP, -GAP, "nearest", ha="center", va="bottom", fontsize=8)
    figure.suptitle(title)
    return figure
