"""A small data set of images, as arrays, as idx files and as a block of params.yaml."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from stages.config.images import Dataset
from stages.mnist.datasets.idx import write_idx
from stages.mnist.datasets.idx_folder import FILES
from stages.mnist.datasets.parts import NAMES, Parts

RNG = np.random.default_rng(0)
ARRAYS = {
    "train_images": RNG.integers(256, size=(6, 28, 28), dtype=np.uint8),
    "train_labels": np.arange(6, dtype=np.uint8),
    "test_images": RNG.integers(256, size=(2, 28, 28), dtype=np.uint8),
    "test_labels": np.array([5, 0], dtype=np.uint8),
}
"""A small data set."""
CONTENT = {name: write_idx(array) for name, array in ARRAYS.items()}
"""Its idx files."""
DIGESTS = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
"""Their digests."""


def dataset(*locations: tuple[str, Path | str], side: int = 28, channels: int = 1, **other: Any) -> Dataset:
    """The block of a data set with sources (kind, location) and other keys; without digests."""
    sources = [{"kind": kind, "location": str(location)} for kind, location in locations]
    block = {"title": "images", "side": side, "channels": channels, "perturbations": {}, "digits": False, "sources": sources}
    return Dataset.model_validate({**block, **other})


def known(*locations: tuple[str, Path | str], **digests: str) -> Dataset:
    """The same with the digests of `CONTENT`, except for the given ones."""
    return dataset(*locations, digests={**DIGESTS, **digests})


def folder(path: Path, *, gzipped: bool = False, **other: bytes) -> Path:
    """A folder with the four files, plain or gzipped; `other` replaces the content of some."""
    path.mkdir()
    for name, content in {**CONTENT, **other}.items():
        (path / (FILES[name] + ".gz" * gzipped)).write_bytes(gzip.compress(content) if gzipped else content)
    return path


def contents(parts: Parts) -> dict[str, bytes]:
    """The idx files of the arrays of a data set."""
    return {name: write_idx(getattr(parts, name)) for name in NAMES}
