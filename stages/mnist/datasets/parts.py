"""The arrays of a data set of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.images import Dataset, is_safe
from stages.mnist.datasets.idx import idx_digest

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
"""The names of the four arrays, in params.yaml too."""
DIGITS = tuple("0123456789")
"""Class names of the digits."""
PARTS = {"train": "training", "test": "test"}
"""The two parts with the adjectives of messages."""


@dataclass(frozen=True)
class Parts:
    """The images and labels of a data set.

    Args:
        train_images: (N, H, W) grey or (N, H, W, 3) colour images, uint8.
        train_labels: (N,) class numbers 0..C-1, uint8 or int32.
        test_images: like the training images.
        test_labels: like the training labels.
        classes: names of the C classes; None if the source has none.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[Any]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[Any]
    classes: tuple[str, ...] | None = None

    def images(self, part: str) -> NDArray[np.uint8]:
        """The images of the part train or test."""
        images: NDArray[np.uint8] = getattr(self, f"{part}_images")
        return images

    def labels(self, part: str) -> NDArray[Any]:
        """The labels of the part train or test."""
        labels: NDArray[Any] = getattr(self, f"{part}_labels")
        return labels

    def digests(self) -> dict[str, str]:
        """The SHA-256 of the idx encoding of each array."""
        return {name: idx_digest(getattr(self, name)) for name in NAMES}


Attempt = Callable[[], Parts]
"""A function that tries to get the arrays."""


def as_labels(numbers: NDArray[Any]) -> NDArray[Any]:
    """Class numbers in the smallest type of an idx file that holds them."""
    return numbers.astype(np.uint8 if numbers.max(initial=0) < 256 else np.int32)


def checked(parts: Parts, dataset: Dataset) -> Parts:
    """The arrays with their class names, if they are what the block of the data set says.

    Raises:
        ValueError: images or labels have another shape or type, a class has no training image, or a class name is not accepted.
    """
    for part, adjective in PARTS.items():
        images, labels = parts.images(part), parts.labels(part)
        _check_images(images, adjective, dataset)
        if labels.shape != images.shape[:1]:
            count = len(labels) if labels.ndim == 1 else f"an array {labels.shape} of"
            raise ValueError(f"there are {len(images)} {adjective} images, but {count} {adjective} labels")
        if labels.min() < 0:
            raise ValueError(f"a {adjective} label is {labels.min()}, expected 0 to C-1 with C classes")
    highest, number = int(max(parts.train_labels.max(), parts.test_labels.max())), len(parts.train_labels)
    if highest >= number:
        raise ValueError(f"a label is {highest}, expected 0 to C-1 with C classes that share {number} training images")
    counts = np.bincount(parts.train_labels)
    classes = tuple(dataset.classes) or parts.classes or tuple(map(str, range(len(counts))))
    if highest >= len(classes):
        raise ValueError(f"there are {len(classes)} classes, but a label is {highest}, expected at most {len(classes) - 1}")
    if len(classes) < 2:
        raise ValueError("all images are of one class, expected at least two classes")
    empty = [name for number, name in enumerate(classes) if number >= len(counts) or not counts[number]]
    if empty:
        raise ValueError(f"no training image is of the class {empty[0]!r}")
    unsafe = next((name for name in classes if not is_safe(name)), None)
    if unsafe is not None:
        raise ValueError(
            f"the class name {unsafe!r} is empty, too long, or has one of < > | ` $ or a control character: "
            "rename the class, or name all classes with the key `classes`"
        )
    return replace(parts, classes=classes)


def _check_images(images: NDArray[Any], adjective: str, dataset: Dataset) -> None:
    side, channels = dataset.side, dataset.channels
    if images.dtype != np.uint8:
        raise ValueError(f"the {adjective} images are of the type {images.dtype}, expected unsigned bytes")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise ValueError(f"the {adjective} images are an array {images.shape}, expected (N, H, W) or (N, H, W, 3)")
    if not len(images):
        raise ValueError(f"there are no {adjective} images")
    found = (*images.shape[1:3], images.shape[3] if images.ndim == 4 else 1)
    if found != (side, side, channels):
        raise ValueError(
            f"the {adjective} images have {found[0]} × {found[1]} pixels and {found[2]} channel{'s' * (found[2] > 1)}, "
            f"but params.yaml says side: {side}, channels: {channels}"
        )


def mixed(parts: Parts) -> Parts:
    """The arrays, with the images of a part shuffled by a fixed seed if they come ordered by class.

    The pipeline uses the first images and holds out the last ones, which must contain all classes. Images count as ordered
    if neighbours are of different classes less than half as often as they would be in random order.
    """
    new: dict[str, NDArray[Any]] = {}
    for part in PARTS:
        labels = parts.labels(part)
        shares = np.bincount(labels) / len(labels)
        if np.count_nonzero(np.diff(labels)) < (len(labels) - 1) * (1 - np.square(shares).sum()) / 2:
            order = np.random.default_rng(0).permutation(len(labels))
            new |= {f"{part}_images": parts.images(part)[order], f"{part}_labels": labels[order]}
    return replace(parts, **new)  # type: ignore[arg-type]
