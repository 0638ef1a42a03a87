"""Colours with one meaning in all figures: of methods, of the truth, of energies."""

from __future__ import annotations

import zlib

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap, to_hex, to_rgb

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


def shades(colour: str, count: int) -> list[str]:
    """`count` shades of a colour, from the colour itself to a light tint."""
    base = np.array(to_rgb(colour))
    return [to_hex(tuple(base + (1 - base) * 0.6 * k / max(count - 1, 1))) for k in range(count)]
