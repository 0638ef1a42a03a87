"""Source kind `npz`: one file of numpy arrays."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.mnist.datasets import unpack
from stages.mnist.datasets.local import file
from stages.mnist.datasets.parts import Parts, as_labels

KEYS = ("train", "train_labels", "test", "test_labels")
"""The arrays that the file must have."""
CHUNK = 4096
"""Images that are converted at a time."""


def read(location: str) -> Parts:
    """The arrays in a .npz file without pickles: `train`, `train_labels`, `test`, `test_labels` and optionally `classes`.

    Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3, bytes or floats in [0, 1]. Labels are any integers; in
    increasing order they become 0..C-1, and `classes`, or else their values as text, the class names.

    Raises:
        ValueError: an array is missing, of another type or shape, or has values out of range.
    """
    path = file(location)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > 4 * unpack.LIMIT:
                raise ValueError(f"the file unpacks to more than {4 * unpack.LIMIT} bytes")
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in (*KEYS, "classes") if name in loaded.files}
    except zipfile.BadZipFile:
        raise ValueError("not a .npz file, or damaged") from None
    missing = next((name for name in KEYS if name not in arrays), None)
    if missing:
        raise ValueError(f"the file has no array {missing}, expected {', '.join(KEYS)}")
    for name in ("train_labels", "test_labels"):
        if arrays[name].dtype.kind not in "iu" or arrays[name].ndim != 1:
            raise ValueError(f"{name} is an array {arrays[name].shape} of {arrays[name].dtype}, expected (N,) integers")
    # Not of the concatenation: signed and unsigned integers together would become floats.
    values = sorted({int(value) for name in ("train_labels", "test_labels") for value in np.unique(arrays[name])})
    numbers = {value: number for number, value in enumerate(values)}
    return Parts(
        _as_bytes("train", arrays["train"]),
        _numbered(arrays["train_labels"], numbers),
        _as_bytes("test", arrays["test"]),
        _numbered(arrays["test_labels"], numbers),
        _classes(arrays["classes"], len(values)) if "classes" in arrays else tuple(map(str, values)),
    )


def _numbered(labels: NDArray[Any], numbers: dict[int, int]) -> NDArray[Any]:
    distinct, places = np.unique(labels, return_inverse=True)
    return as_labels(np.array([numbers[int(value)] for value in distinct], dtype=np.int64)[places])


def _classes(names: NDArray[Any], count: int) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.shape != (count,) or len(set(names.tolist())) != count:
        raise ValueError(
            f"classes is an array {names.shape} of {names.dtype}, expected {count} different names, one for each label"
        )
    return tuple(names.tolist())


def _as_bytes(name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    """Images as bytes (N, H, W) or (N, H, W, 3)."""
    if images.ndim not in (3, 4):
        raise ValueError(f"{name} is an array {images.shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if images.ndim == 4:
        if images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
            images = np.moveaxis(images, 1, 3)
        if images.shape[3] == 1:
            images = images[..., 0]
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise ValueError(f"{name} is of the type {images.dtype}, expected unsigned bytes or floats in [0, 1]")
    found = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        if not np.isfinite(part).all():
            raise ValueError(f"{name} holds NaN or infinity")
        if part.size and (part.min() < 0 or part.max() > 1):
            raise ValueError(f"{name} holds values from {part.min():.4g} to {part.max():.4g}, expected [0, 1]")
        found[start : start + CHUNK] = np.rint(255 * part.astype(np.float64))
    return found
