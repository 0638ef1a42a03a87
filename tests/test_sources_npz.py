"""Files of numpy arrays: images in several layouts and types are read; unusable arrays are described in one line."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.errors import DataUnavailable
from stages.mnist.datasets import unpack
from stages.mnist.datasets.parts import Parts
from stages.mnist.datasets.sources import fetch
from tests.data_sets import RNG, dataset

pytestmark = pytest.mark.hostile

GREY = RNG.integers(256, size=(8, 9, 9), dtype=np.uint8)
COLOUR = RNG.integers(256, size=(8, 9, 9, 3), dtype=np.uint8)
LABELS = np.array([7, -2, 7, 30, -2, 30, 7, 7])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of each test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fetched(images: np.ndarray = GREY, channels: int = 1, **other: Any) -> Parts:
    """What is read from a file of training images, of which two are the test images; `other` replaces or adds arrays."""
    arrays = {"train": images, "train_labels": LABELS, "test": images[:2], "test_labels": LABELS[:2], **other}
    np.savez("mine.npz", **{name: array for name, array in arrays.items() if array is not None})
    return fetch("mine", dataset(("npz", "mine.npz"), side=9, channels=channels))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY[:, None], GREY),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR),
        (GREY / 255, GREY),
        ((COLOUR / 255).astype(np.float32), COLOUR),
        ((GREY / 255).astype(np.float16), GREY),
        (np.asfortranarray(COLOUR), COLOUR),
    ],
    ids=["N H W", "N H W 1", "N 1 H W", "N H W 3", "N 3 H W", "float64", "float32 colour", "float16", "Fortran order"],
)
def test_images_in_any_layout_and_type_become_the_same_bytes(images: np.ndarray, expected: np.ndarray) -> None:
    found = fetched(images, channels=3 if expected.ndim == 4 else 1)
    assert found.train_images.dtype == np.uint8 and found.train_images.shape == expected.shape
    # Half precision is coarser than a byte near 1.
    assert np.abs(found.train_images.astype(int) - expected).max() <= (images.dtype == np.float16)


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_labels_become_consecutive_numbers_and_their_values_class_names(dtype: type) -> None:
    found = fetched(train_labels=LABELS.astype(dtype), test_labels=LABELS[:2].astype(np.int64))
    assert found.train_labels.tolist() == [1, 0, 1, 2, 0, 2, 1, 1] and found.test_labels.tolist() == [1, 0]
    assert found.classes == ("-2", "7", "30")


def test_labels_up_to_2_to_the_64_are_told_apart() -> None:
    large = np.array([2**64 - 1, 2**64 - 2] * 4, np.uint64)
    found = fetched(train_labels=large, test_labels=np.array([2**64 - 2, 2**64 - 1], np.uint64))
    assert found.test_labels.tolist() == [0, 1] and found.classes == (str(2**64 - 2), str(2**64 - 1))


def test_classes_name_the_labels_in_increasing_order() -> None:
    assert fetched(classes=np.array(["cold", "warm", "hot"])).classes == ("cold", "warm", "hot")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"test_labels": None}, "the file has no array test_labels, expected train, train_labels, test, test_labels"),
        ({"train_labels": LABELS[:-1]}, "there are 8 training images, but 7 training labels"),
        ({"train_labels": LABELS[:0], "train": GREY[:0]}, "there are no training images"),
        ({"train_labels": LABELS / 2}, r"train_labels is an array \(8,\) of float64, expected \(N,\) integers"),
        ({"train_labels": LABELS[:, None]}, r"train_labels is an array \(8, 1\) of int64"),
        ({"train_labels": np.array(list("abcdefgh"))}, r"train_labels is an array \(8,\) of <U1"),
        ({"train_labels": LABELS.astype(object)}, "Object arrays cannot be loaded when allow_pickle=False"),
        ({"train_labels": np.full(8, 7), "test_labels": np.full(2, 7)}, "all images are of one class"),
        ({"test_labels": np.array([7, 8])}, "no training image is of the class '8'"),
        ({"train": np.where(GREY > 200, np.nan, 0.5)}, "train holds NaN or infinity"),
        ({"test": GREY[:2].astype(float)}, r"test holds values from \S+ to \S+, expected \[0, 1\]"),
        ({"test": GREY[:2] / 255 - 1}, r"test holds values from \S+ to \S+, expected \[0, 1\]"),
        ({"train": GREY.astype(np.int64)}, "train is of the type int64, expected unsigned bytes or floats"),
        ({"train": np.float64(1)}, r"train is an array \(\), expected \(N, H, W\)"),
        ({"train": GREY.reshape(8, 81)}, r"train is an array \(8, 81\)"),
        ({"train": COLOUR}, "the training images have 9 × 9 pixels and 3 channels, but params.yaml says side: 9, channels: 1"),
        ({"train": np.zeros((8, 9, 9, 2), np.uint8)}, r"the training images are an array \(8, 9, 9, 2\)"),
        ({"train": np.zeros((8, 1, 9, 3), np.uint8)}, "have 1 × 9 pixels and 3 channels"),
        ({"classes": np.array(["a", "b"])}, r"classes is an array \(2,\) of <U1, expected 3 different names"),
        ({"classes": np.array(["a", "b", "a"])}, "expected 3 different names"),
        ({"classes": np.array([1, 2, 3])}, "expected 3 different names"),
        ({"classes": np.array(["a", "b", "<b>c"])}, "the class name '<b>c' is empty, too long, or has one of"),
        ({"classes": np.array(["a", "b", "c\nd"])}, r"the class name 'c\\nd' is empty"),
    ],
)
def test_unusable_arrays_are_described_in_one_line(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataUnavailable, match=rf"^no source gave the images: npz mine\.npz: .*{reason}") as caught:
        fetched(**change)
    assert "\n" not in str(caught.value) and not Path("data").exists()


def test_a_file_that_is_no_archive_or_is_missing_or_a_pipe_is_reported() -> None:
    def message() -> str:
        with pytest.raises(DataUnavailable) as caught:
            fetch("mine", dataset(("npz", "mine.npz"), side=9))
        return str(caught.value)

    assert message().endswith("there is no such file")
    os.mkfifo("mine.npz")
    assert message().endswith("there is no such file")
    Path("mine.npz").unlink()
    Path("mine.npz").write_bytes(b"PK\3\4 nonsense")
    assert message().endswith("not a .npz file, or damaged")
    fetched()
    content = Path("mine.npz").read_bytes()
    for damaged in (
        content[:-30],
        content[: len(content) // 2],
        content.replace(b"NUMPY", b"NUMPI"),
        content[:200] + b"x" + content[201:],
    ):
        Path("mine.npz").write_bytes(damaged)
        Path("data/mnist/mine.digests.yaml").unlink(missing_ok=True)
        assert "\n" not in message()


def test_an_archive_that_unpacks_to_more_than_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile("mine.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.npy", bytes(5000))
    assert Path("mine.npz").stat().st_size < 500
    monkeypatch.setattr(unpack, "LIMIT", 1000)
    with pytest.raises(DataUnavailable, match="the file unpacks to more than 4000 bytes"):
        fetch("mine", dataset(("npz", "mine.npz"), side=9))
