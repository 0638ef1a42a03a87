"""Colours with one meaning in all figures: of methods, of the truth, of energies."""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap, to_hex, to_rgb
from numpy.typing import NDArray

ENERGY_MAP: Colormap = colormaps["viridis"]
"""Energies in nats. Dark is low, so a well looks deep. Perceptually uniform, so readable in greyscale and when colour-blind."""
COSINE_MAP: Colormap = ListedColormap(colormaps["magma"](np.linspace(0.05, 0.88, 256)), "cosine")
"""−cos, from −1 to 1. Dark is low here as well; another map than that of energies, since the values have another meaning."""
BANDS = 20
"""Colours of an energy in contours and animations; large areas of one colour also make small files."""
ERROR_MAP: Colormap = colormaps["YlOrBr"]
"""Errors; dark is large."""
TRUTH = "#444444"
"""The analytic truth, in lines and markers."""
TRUTH_FILL = "#c4c4c4"
"""The analytic truth, in areas."""
BASELINE = "#888888"
"""What was not trained: raw inputs and untrained encoders."""
ACCENT = "#d7261e"
"""What the eye should find first, such as a collapse or a verdict that disagrees."""
REFERENCE = "#00e5ff"
"""The reference point: a colour that neither colour map has."""

METHODS = {
    "contrastive": "#0072b2",
    "contrastive_critic": "#6a51a3",
    "energy_contrastive": "#c28e00",
    "dsm": "#d6338a",
    "dsm_energy": "#6b9a1f",
    "ism": "#8c564b",
    "ncsn": "#0f9fb0",
    "jepa_basic": "#d55e00",
    "jepa_pairwise": "#a6761d",
    "jepa_masked": "#b05c94",
    "jepa_masked_density": "#882255",
    "jepa_ema": "#009e73",
    "vicreg": "#3a8fd0",
    "sigreg": "#332288",
    "spectral_contrastive": "#e0245e",
    "barlow_twins": "#5a7d00",
    "simsiam": "#00a5cf",
    "nce": "#8a5a00",
    "flow_matching": "#1b9e77",
    "diffusion": "#7b4fd0",
}
"""Colours of the methods."""
OTHERS = ("#1b7837", "#762a83", "#b2182b", "#2166ac", "#8c510a", "#01665e", "#c51b7d", "#4d9221")
"""Colours of methods that are not in `METHODS`."""


def method_colour(name: str) -> str:
    """The colour of a method: one of its own, or one of `OTHERS` chosen by its name."""
    return METHODS.get(name) or OTHERS[zlib.crc32(name.encode()) % len(OTHERS)]


CLASSES = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933", "#ddcc77", "#cc6677", "#882255", "#aa4499", "#666666",
)  # fmt: skip
"""Colours of modes and classes, which colour-blind readers can tell apart: Paul Tol's muted scheme and a grey."""
MOST_COLOURS = 100
"""Distinct colours of classes; more classes share them."""
LEVELS = 16
"""Values of red, green and blue among which further colours are chosen."""
LIGHTNESS = (0.35, 0.8)
"""Limits of the lightness of further colours in OKLab: they are visible on white and differ from black text."""


@cache
def class_colours(count: int) -> tuple[str, ...]:
    """Colours of `count` classes: `CLASSES` in this order, then each the farthest from all before it in OKLab.

    The first colours do not depend on the count. Colours repeat after `MOST_COLOURS`.
    """
    candidates = np.stack(np.meshgrid(*[np.linspace(0, 1, LEVELS)] * 3, indexing="ij"), -1).reshape(-1, 3)
    places = _oklab(candidates)
    usable = (places[:, 0] >= LIGHTNESS[0]) & (places[:, 0] <= LIGHTNESS[1])
    candidates, places = candidates[usable], places[usable]
    chosen = [to_hex(colour) for colour in CLASSES[:count]]
    nearest = np.full(len(places), np.inf)
    for colour in CLASSES:
        nearest = np.minimum(nearest, np.linalg.norm(places - _oklab(np.array(to_rgb(colour))), axis=1))
    while len(chosen) < min(count, MOST_COLOURS):
        # Rounded, so that the last digits of a cube root decide nothing.
        best = int(nearest.round(6).argmax())
        chosen.append(to_hex(tuple(candidates[best])))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[best], axis=1))
    return tuple(chosen[k % len(chosen)] for k in range(count))


def _oklab(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates (..., 3) in OKLab of sRGB colours (..., 3) in [0, 1] (Ottosson 2020, "A perceptual color space")."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(np.cbrt(linear @ cones.T) @ lab.T)


def shades(colour: str, count: int) -> list[str]:
    """`count` shades of a colour, from the colour itself to a light tint."""
    base = np.array(to_rgb(colour))
    return [to_hex(tuple(base + (1 - base) * 0.6 * k / max(count - 1, 1))) for k in range(count)]
