"""Figures as PNG files and GIF animations. Equal input gives equal bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from stages.pipeline import files
from stages.plots.colours import ACCENT, BANDS, COSINE_MAP, ENERGY_MAP, REFERENCE

# Ignore the matplotlibrc of the user and of the working directory.
matplotlib.rcdefaults()
matplotlib.rcParams.update({"font.size": 9, "axes.titlesize": 9, "figure.titlesize": 10, "legend.frameon": False})
DPI = 100
"""Pixels per inch of figures."""
ANIMATION_DPI = 80
"""Pixels per inch of animations."""


def plain(text: str) -> str:
    """A text of the user, such as the name of a class, that matplotlib shows unchanged: `$` does not start a formula."""
    return text.replace("$", r"\$")


def in_colour(images: NDArray[Any]) -> bool:
    """Whether images are (..., H, W, 3) and not (..., H, W): the sides of images are longer than 3."""
    return images.shape[-1] == 3


def blank(width: float, height: float, dpi: int = DPI) -> Figure:
    """An empty figure with the Agg backend; width and height in inches."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_png(path: Path, figure: Figure) -> None:
    """Write the figure as a PNG, quantised to 256 of its own colours, which saves two thirds of the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    image = Image.open(buffer).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = io.BytesIO()
    image.save(content, format="png", optimize=True)
    files.write_bytes(path, content.getvalue())


def animate(figure: Figure, moving: list[Artist], update: Callable[[int], None], frames: int) -> list[NDArray[np.uint8]]:
    """Frames (H, W, 3) of an animation in which only the `moving` artists change.

    The static background, with axes and ticks, is drawn once; each frame restores it and draws the moving artists on top.

    Args:
        figure: the figure to animate.
        moving: artists that change between frames.
        update: sets the artists to the state of a frame.
        frames: number of frames.
    """
    canvas: Any = figure.canvas
    canvas.draw()
    figure.set_layout_engine("none")
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    images = []
    for frame in range(frames):
        canvas.restore_region(background)
        update(frame)
        for artist in sorted(moving, key=lambda a: a.get_zorder()):
            (artist.axes or figure).draw_artist(artist)
        images.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return images


def palette(accents: Sequence[str]) -> Image.Image:
    """The palette of animations: the bands of both colour maps, their blends with white dots, greys, and the accents."""
    accents = list(dict.fromkeys(accents))  # the colours of many classes repeat
    bands = [colour_map.resampled(BANDS)(np.arange(BANDS))[:, :3] for colour_map in (ENERGY_MAP, COSINE_MAP)]
    scale = np.concatenate(bands)
    dotted = np.concatenate([scale * (1 - alpha) + alpha for alpha in (0.35, 0.6, 0.8)])
    grey = np.repeat(np.linspace(0, 1, 16)[:, None], 3, -1)
    # A GIF has 256 colours: for many accents, the energies give way.
    fixed = np.concatenate((scale, dotted, grey))[-(256 - len(accents)) :]
    colours = np.concatenate((fixed, [to_rgb(accent) for accent in accents]))
    image = Image.new("P", (1, 1))
    image.putpalette((colours * 255).round().astype(np.uint8).tobytes())
    return image


def palette_of(images: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """The palette of an animation of colour images: 256 colours of its frames, by median cut."""
    return Image.fromarray(np.concatenate(images)).quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def write_gif(
    path: Path,
    images: Iterable[NDArray[np.uint8]],
    seconds: float,
    accents: Sequence[str] = (ACCENT, REFERENCE),
    *,
    own_colours: bool = False,
) -> None:
    """Write a looping GIF.

    Args:
        path: of the file.
        images: frames (H, W, 3).
        seconds: duration of one loop.
        accents: colours that are kept exactly, in addition to those of `palette`.
        own_colours: whether the colours are those of the frames instead, which colour images need.
    """
    images = list(images)
    colours = palette_of(images) if own_colours else palette(accents)
    reduced = [
        np.asarray(Image.fromarray(i).quantize(palette=colours, dither=Image.Dither.NONE).convert("RGB")) for i in images
    ]
    duration = round(1000 * seconds / len(images))
    files.write_bytes(path, imageio.imwrite("<bytes>", np.stack(reduced), extension=".gif", duration=duration, loop=0))
