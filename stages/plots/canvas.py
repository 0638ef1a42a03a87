"""Figures as PNG bytes and GIF frames, the same bytes for the same input."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from stages.pipeline import files

# A matplotlibrc of this user, or of this folder, decides no picture.
matplotlib.rcdefaults()
DPI = 80
ENERGY_MAP = "viridis"
"""Dark is low energy: a well looks deep. Even in lightness, so that it survives colour blindness and grey printing."""

ACCENT = "#d55e00"
"""What has to be found at once: the reference point."""


def blank(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, drawn by Agg."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_png(path: Path, figure: Figure) -> None:
    """Write the figure with a palette of 256 of its own colours: a third of the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    image = Image.open(buffer).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = io.BytesIO()
    image.save(content, format="png", optimize=True)
    files.write_bytes(path, content.getvalue())


def animate(figure: Figure, moving: list[Artist], update: Callable[[int], None], frames: int) -> list[NDArray[np.uint8]]:
    """The frames of an animation (H, W, 3) of which only the `moving` artists change.

    Axes, ticks and the rest are drawn once; each frame restores them and draws the moving artists on top.
    """
    canvas: Any = figure.canvas
    canvas.draw()
    figure.set_layout_engine("none")
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)
    images = []
    for frame in range(frames):
        canvas.restore_region(still)
        update(frame)
        for artist in sorted(moving, key=lambda a: a.get_zorder()):
            (artist.axes or figure).draw_artist(artist)
        images.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return images


def palette(accents: Sequence[str]) -> Image.Image:
    """A palette for animations: the energy's colours, the same under translucent white dots, greys, and the accents."""
    scale = colormaps[ENERGY_MAP](np.linspace(0, 1, 60))[:, :3]
    dotted = np.concatenate([scale[::3] * (1 - alpha) + alpha for alpha in (0.35, 0.6, 0.8)])
    grey = np.repeat(np.linspace(0, 1, 16)[:, None], 3, -1)
    colours = np.concatenate((scale, dotted, grey, [to_rgb(accent) for accent in accents]))
    image = Image.new("P", (1, 1))
    image.putpalette((colours * 255).round().astype(np.uint8).tobytes())
    return image


def write_gif(path: Path, images: Iterable[NDArray[np.uint8]], seconds: float, accents: Sequence[str] = (ACCENT,)) -> None:
    """Write an endless GIF of that length in the colours of `palette`."""
    images, colours = list(images), palette(accents)
    reduced = [
        np.asarray(Image.fromarray(i).quantize(palette=colours, dither=Image.Dither.NONE).convert("RGB")) for i in images
    ]
    duration = round(1000 * seconds / len(images))
    files.write_bytes(path, imageio.imwrite("<bytes>", np.stack(reduced), extension=".gif", duration=duration, loop=0))
