"""Paths of the artifacts of score-based methods on images, and the shape of the images. DATA is `mixture` or `images`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stages.pipeline.artifacts import ANIMATIONS, DATA, FIGURES, MODELS, REPORTS

MIXTURE = DATA / "pixels/mixture.npz"
"""Parameters of the mixture in pixel space."""


def weights(method: str, data: str) -> Path:
    """A method's parameters after training on one of the two data sets."""
    return MODELS / f"pixels/{method}.{data}.safetensors"


def metrics(method: str) -> Path:
    """All metrics of a method."""
    return REPORTS / f"metrics/pixels/{method}.json"


def fields(method: str) -> Path:
    """Samples, score errors and mode weights of a method."""
    return REPORTS / f"fields/pixels/{method}.npz"


def figures(method: str) -> Path:
    """The folder of a method's figures."""
    return FIGURES / "pixels" / method


def animations(method: str) -> Path:
    """The folder of a method's animations."""
    return ANIMATIONS / "pixels" / method


def shape_of(images: NDArray[Any]) -> tuple[int, int, int]:
    """Channels, height and width of images (N, H, W), or (N, H, W, 3) in colour."""
    _, height, width, *channels = images.shape
    return channels[0] if channels else 1, height, width
