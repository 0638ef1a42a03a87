"""Idx files: valid ones are read from a folder, plain or gzipped; malformed ones are rejected."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from stages.core.errors import DataUnavailable
from stages.mnist.datasets import idx_folder, unpack
from stages.mnist.datasets.idx import idx_digest, read_idx, write_idx
from stages.mnist.datasets.idx_folder import FILES
from stages.mnist.datasets.sources import fetch
from tests.data_sets import ARRAYS, CONTENT, contents, dataset, folder, known

pytestmark = pytest.mark.hostile


@given(arrays(np.uint8, array_shapes(max_dims=4, min_side=0, max_side=5)))
def test_an_array_survives_writing_and_reading_as_idx(array: np.ndarray) -> None:
    for one in (array, array.astype(np.int32) * 70_000 - 5):
        found = read_idx(write_idx(one))
        assert found.shape == one.shape and found.dtype == one.dtype and np.array_equal(found, one)
        assert idx_digest(one) == hashlib.sha256(write_idx(one)).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x0d\x01" + (1).to_bytes(4, "big") + b"abcd",
        b"\x1f\x8b\x08\x01" + CONTENT["train_labels"][4:],
        b"<!DOCTYPE html><html></html>",
        CONTENT["train_images"][:-1],
        CONTENT["train_images"][:10],
        CONTENT["train_images"] + b"\x00",
        b"\x00\x00\x08\x02" + (2**20).to_bytes(4, "big") * 2 + b"abcd",
        b"\x00\x00\x08\xff" + (1).to_bytes(4, "big") * 255 + b"a",
    ],
    ids=[
        "empty",
        "short",
        "floats",
        "gzip",
        "html",
        "truncated",
        "truncated header",
        "too long",
        "2^40 bytes declared",
        "rank 255",
    ],
)
def test_malformed_idx_content_raises_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_idx(content)


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_folder_provides_plain_or_gzipped_files(gzipped: bool, tmp_path: Path) -> None:
    assert contents(idx_folder.read(str(folder(tmp_path / "idx", gzipped=gzipped)), {})) == CONTENT


def test_a_missing_idx_file_is_named_in_the_error(tmp_path: Path) -> None:
    (folder(tmp_path / "idx") / FILES["test_images"]).unlink()
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte"):
        idx_folder.read(str(tmp_path / "idx"), {})


@pytest.mark.parametrize(
    "names",
    [
        {key: name.replace("-idx", ".idx") for key, name in FILES.items()},
        {key: f"{name}/{name}" for key, name in FILES.items()},
        {key: f"{number}.bin" for number, key in enumerate(FILES)},
        {**FILES, "test_labels": "labels of the test"},
    ],
    ids=["dots instead of hyphens", "folders named like the files", "numbered", "one renamed"],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_files_with_other_names_are_found_by_their_digests(names: dict[str, str], gzipped: bool, tmp_path: Path) -> None:
    for key, name in names.items():
        path = tmp_path / "renamed" / f"{name}{'.gz' if gzipped else ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(CONTENT[key]) if gzipped else CONTENT[key])
    (tmp_path / "renamed/notes.gz").write_bytes(b"not a gzip file")
    assert contents(fetch("mine", known(("folder", tmp_path / "renamed")))) == CONTENT


def test_a_relative_folder_is_found_from_a_temporary_copy_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    folder(tmp_path / "data/mine")
    (tmp_path / ".dvc/tmp/exps/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / ".dvc/tmp/exps/one")
    with pytest.raises(DataUnavailable, match="there is no such folder"):
        fetch("mine", known(("folder", "data/mine")))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert np.array_equal(fetch("mine", known(("folder", "data/mine"))).test_labels, ARRAYS["test_labels"])


def test_a_decompression_bomb_is_rejected_at_the_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = str(folder(tmp_path / "idx", gzipped=True, train_images=bytes(10_000)))
    monkeypatch.setattr(unpack, "LIMIT", 10_000)
    with pytest.raises(ValueError, match="train_images: not an idx file"):
        idx_folder.read(location, {})
    monkeypatch.setattr(unpack, "LIMIT", 9_999)
    with pytest.raises(ValueError, match="more than 9999 bytes"):
        idx_folder.read(location, {})


def test_a_folder_provides_colour_images_of_any_side_and_any_number_of_classes(tmp_path: Path) -> None:
    images, labels = np.zeros((300, 8, 8, 3), np.uint8), np.arange(300, dtype=np.int32)
    images[:, 0, 0, 0] = labels % 256
    files = {
        "train_images": write_idx(images),
        "train_labels": write_idx(labels),
        "test_images": write_idx(images[:2]),
        "test_labels": write_idx(labels[-2:]),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    block = dataset(("folder", folder(tmp_path / "idx", **files)), side=8, channels=3, digests=digests)
    found = fetch("mine", block)
    assert contents(found) == files and found.classes == tuple(map(str, range(300)))
