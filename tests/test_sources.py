"""Sources of the images: the first one with the digests is used, and all reasons are reported if none has them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from stages.config import params, yaml_file
from stages.config.images import LOCAL_KINDS, Source
from stages.core.errors import DataUnavailable, UserError
from stages.core.paths import ROOT
from stages.mnist import data
from stages.mnist.datasets import bundled, torchvision_sets, wheel
from stages.mnist.datasets.idx import write_idx
from stages.mnist.datasets.idx_folder import FILES
from stages.mnist.datasets.parts import Parts, mixed
from stages.mnist.datasets.sources import fetch
from stages.pipeline import artifacts, files
from stages.tools.small import merged
from tests.data_sets import ARRAYS, CONTENT, DIGESTS, RNG, contents, dataset, folder, known

RAW = yaml_file.read(ROOT / "params.yaml")
pytestmark = pytest.mark.hostile


def test_the_first_source_with_the_images_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "read", lambda location: pytest.fail("a later source was tried"))
    assert contents(fetch("mine", known(("folder", folder(tmp_path / "idx")), ("wheel", "never")))) == CONTENT


def truncated_gzip(path: Path) -> Path:
    """A folder with gzipped files, one of them truncated."""
    file = folder(path, gzipped=True) / f"{FILES['train_images']}.gz"
    file.write_bytes(file.read_bytes()[:-20])
    return path


@pytest.mark.parametrize(
    "broken, reason",
    [
        (lambda path: path, "there is no such folder"),
        (partial(folder, test_labels=write_idx(np.array([0, 9], np.uint8))), "test_labels has the digest"),
        (truncated_gzip, "ended before the end-of-stream marker"),
    ],
    ids=["missing", "wrong digest", "truncated gzip"],
)
def test_after_a_failing_source_the_next_one_is_tried(broken: Callable[[Path], Path], reason: str, tmp_path: Path) -> None:
    bad, good = broken(tmp_path / "bad"), folder(tmp_path / "good")
    assert np.array_equal(fetch("mine", known(("folder", bad), ("folder", good))).test_labels, ARRAYS["test_labels"])
    with pytest.raises(DataUnavailable, match=reason):
        fetch("mine", known(("folder", bad)))


def test_if_all_sources_fail_one_line_lists_the_reason_for_each(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", train_labels=write_idx(np.zeros(6, np.uint8)))
    with pytest.raises(DataUnavailable) as caught:
        fetch("mine", known(("folder", tmp_path / "nowhere"), ("folder", other), ("torchvision", "NoSuchSet")))
    message = str(caught.value)
    assert f"folder {tmp_path / 'nowhere'}: there is no such folder" in message
    assert f"folder {other}: train_labels has the digest" in message
    assert "torchvision NoSuchSet: torchvision has no such data set" in message
    assert "\n" not in message


def test_files_with_matching_digests_that_are_not_idx_are_rejected(tmp_path: Path) -> None:
    location = folder(tmp_path / "idx", train_labels=b"nonsense")
    with pytest.raises(DataUnavailable, match="not an idx file"):
        fetch("mine", known(("folder", location), train_labels=hashlib.sha256(b"nonsense").hexdigest()))


def test_sources_have_a_reader_for_each_kind_and_local_kinds_report_a_missing_path(tmp_path: Path) -> None:
    kinds = Source.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    for kind in set(kinds) - {"wheel"}:
        with pytest.raises(DataUnavailable, match=rf"^no source gave the images: {kind} nothing: ") as caught:
            fetch("mine", known((kind, "nothing")))
        assert ("there is no such" in str(caught.value)) == (kind in LOCAL_KINDS)


# ---------------------------------------------------------------- digests that params.yaml does not have


def test_without_digests_those_of_the_first_use_are_recorded_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    block, file = dataset(("folder", folder(tmp_path / "idx"))), tmp_path / "data/mnist/mine.digests.yaml"
    assert contents(fetch("mine", block)) == CONTENT
    (line,) = capsys.readouterr().out.splitlines()
    assert "mnist.datasets.mine has no digests" in line and "data/mnist/mine.digests.yaml" in line
    # The file is a block of params.yaml.
    recorded = yaml_file.read(file)
    assert recorded == {"digests": DIGESTS}
    assert contents(fetch("mine", block)) == CONTENT and not capsys.readouterr().out
    (tmp_path / "idx" / FILES["test_labels"]).write_bytes(write_idx(np.array([1, 2], np.uint8)))
    with pytest.raises(DataUnavailable, match=r"test_labels has the digest .* delete data/mnist/mine\.digests\.yaml$"):
        fetch("mine", block)
    file.unlink()
    assert fetch("mine", block).test_labels.tolist() == [1, 2]


def test_a_second_source_may_have_the_recorded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good, other = folder(tmp_path / "good"), folder(tmp_path / "other", test_labels=write_idx(np.array([1, 2], np.uint8)))
    fetch("mine", dataset(("folder", good)))
    assert contents(fetch("mine", dataset(("folder", other), ("folder", good)))) == CONTENT


def test_a_temporary_copy_of_the_project_uses_the_digests_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / ".dvc/tmp/exps/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / ".dvc/tmp/exps/one")
    fetch("mine", dataset(("folder", folder(tmp_path / "idx"))))
    assert (tmp_path / "data/mnist/mine.digests.yaml").is_file() and not list(Path().iterdir())
    with pytest.raises(DataUnavailable, match="as at the first use"):
        fetch("mine", dataset(("folder", folder(tmp_path / "new", train_labels=write_idx(np.arange(6, dtype=np.uint8)[::-1])))))


@pytest.mark.parametrize(
    "content", [b"", b"digests: {train_images: 3}", b"digests: {}", b"\xff\xfe", b"[" * 200, b"digests: {a: b}\nx: 1"]
)
def test_a_damaged_file_of_digests_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    block = dataset(("folder", folder(tmp_path / "idx")))
    (tmp_path / "data/mnist").mkdir(parents=True)
    (tmp_path / "data/mnist/mine.digests.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"data/mnist/mine\.digests\.yaml: ") as caught:
        fetch("mine", block)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- what the block says


def labels(*values: int) -> bytes:
    return write_idx(np.array(values, np.uint8))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"train_images": write_idx(np.zeros((6, 28, 30), np.uint8))},
            "the training images have 28 × 30 pixels and 1 channel, ",
        ),
        (
            {"test_images": write_idx(np.zeros((2, 32, 32, 3), np.uint8))},
            "the test images have 32 × 32 pixels and 3 channels, but params.yaml says side: 28, channels: 1",
        ),
        ({"test_images": write_idx(np.zeros((2, 28, 28, 4), np.uint8))}, r"the test images are an array \(2, 28, 28, 4\)"),
        ({"test_images": write_idx(np.zeros(2, np.uint8))}, r"the test images are an array \(2,\)"),
        ({"test_images": write_idx(np.zeros((2, 28, 28), np.int32))}, "the test images are of the type int32"),
        (
            {"train_images": write_idx(np.zeros((0, 28, 28), np.uint8)), "train_labels": labels()},
            "there are no training images",
        ),
        ({"test_images": write_idx(np.zeros((0, 28, 28), np.uint8)), "test_labels": labels()}, "there are no test images"),
        ({"train_labels": labels()}, "there are 6 training images, but 0 training labels"),
        ({"test_labels": labels(0, 1, 2)}, "there are 2 test images, but 3 test labels"),
        ({"test_labels": write_idx(np.zeros((2, 1), np.uint8))}, r"2 test images, but an array \(2, 1\) of test labels"),
        ({"train_labels": labels(0, 0, 0, 0, 0, 0), "test_labels": labels(0, 0)}, "all images are of one class"),
        ({"train_labels": labels(0, 1, 2, 2, 4, 5)}, "no training image is of the class '3'"),
        ({"test_labels": labels(0, 9)}, "a label is 9, expected 0 to C-1"),
        ({"train_labels": write_idx(np.array([0, 1, 2, 3, 4, 2**31 - 1], np.int32))}, "a label is 2147483647"),
        ({"train_labels": labels(0, 1, 2, 3, 4, 4)}, "there are 5 classes, but a label is 5, expected at most 4"),
        ({"test_labels": write_idx(np.array([0, -1], np.int32))}, "a test label is -1"),
    ],
)
def test_arrays_that_do_not_fit_the_block_or_each_other_are_described(
    change: dict[str, bytes], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataUnavailable, match=reason):
        fetch("mine", dataset(("folder", folder(tmp_path / "idx", **change))))
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("classes", "reason"),
    [(["a", "b"], "there are 2 classes, but a label is 5"), (list("abcdefg"), "no training image is of the class 'g'")],
)
def test_class_names_must_be_as_many_as_the_labels(classes: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=reason):
        fetch("mine", dataset(("folder", folder(tmp_path / "idx")), classes=classes, digests=DIGESTS))


def test_class_names_are_those_of_the_block_or_else_numbers(tmp_path: Path) -> None:
    block = known(("folder", folder(tmp_path / "idx")))
    assert fetch("mine", block).classes == tuple("012345")
    assert fetch("mine", block.model_copy(update={"classes": list("abcdef")})).classes == tuple("abcdef")


def of_labels(values: np.ndarray) -> Parts:
    """A data set whose images show their numbers."""
    images = np.arange(len(values), dtype=np.uint8)[:, None, None]
    return Parts(images, values.astype(np.uint8), images[:2], values[:2].astype(np.uint8))


@pytest.mark.parametrize("values", [np.repeat(np.arange(4), 50), np.repeat([3, 1, 3, 1, 2, 0], 30)], ids=["sorted", "in runs"])
def test_images_in_the_order_of_their_classes_are_shuffled_always_alike(values: np.ndarray) -> None:
    found, again = mixed(of_labels(values)), mixed(of_labels(values))
    assert np.array_equal(found.train_images, again.train_images)
    assert np.array_equal(found.train_labels, values[found.train_images[:, 0, 0]])
    assert sorted(found.train_images[:, 0, 0]) == list(range(len(values)))
    for part in (found.train_labels[:30], found.train_labels[-30:]):
        assert set(part) == set(values)


@pytest.mark.parametrize("values", [np.arange(200) % 10, RNG.integers(5, size=200)], ids=["cyclic", "random"])
def test_images_in_another_order_are_not_shuffled(values: np.ndarray) -> None:
    assert np.array_equal(mixed(of_labels(values)).train_labels, values)


# ---------------------------------------------------------------- scikit-learn


def test_the_digits_of_scikit_learn_need_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = fetch("digits", dataset(("sklearn", "digits"), side=8))
    assert found.train_images.shape == (1437, 8, 8) and found.test_images.shape == (360, 8, 8)
    assert found.train_images.max() == 255 and found.classes == tuple("0123456789")
    with pytest.raises(DataUnavailable, match=r"8 × 8 pixels and 1 channel, but params\.yaml says side: 16, channels: 1"):
        fetch("digits", dataset(("sklearn", "digits"), side=16))


@pytest.mark.parametrize("side", [8, 64])
def test_training_and_test_patches_of_photographs_come_from_disjoint_areas(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    areas = np.broadcast_to(np.arange(640) // 128, (427, 640)).astype(np.uint8)
    photographs = [np.stack([areas, np.full_like(areas, number), areas], -1) for number in (0, 1)]
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: SimpleNamespace(images=photographs))
    found = bundled.read("photographs", side)
    assert found.train_images.shape == (2000, side, side, 3) and found.test_images.shape == (500, side, side, 3)
    assert set(found.train_images[..., 0].ravel()) == {0, 1, 3, 4} and set(found.test_images[..., 0].ravel()) == {2}
    assert np.array_equal(found.train_images[:, 0, 0, 1], found.train_labels) and found.classes == ("china", "flower")


def test_photographs_are_fetched_in_colour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = fetch("photographs", dataset(("sklearn", "photographs"), side=16, channels=3))
    assert set(found.train_labels[:20]) == set(found.train_labels[-20:]) == {0, 1}
    with pytest.raises(DataUnavailable, match="scikit-learn has no such images"):
        fetch("photographs", dataset(("sklearn", "faces")))


# ---------------------------------------------------------------- the stage


@pytest.mark.parametrize("counts", [(400, 20), (10_000_000, 10_000_000)])
def test_the_stage_writes_the_first_images_up_to_the_counts_and_the_class_names(
    counts: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = {"dataset": "digits", "train_images": counts[0], "test_images": counts[1]}
    Path("params.yaml").write_text(yaml.safe_dump(merged(RAW, {"mnist": block})))
    data.main(params.load())
    train, test = (files.read_arrays(artifacts.data("mnist", part)) for part in ("train", "test"))
    assert len(train["images"]) == min(counts[0], 1437) and len(test["labels"]) == min(counts[1], 360)
    assert train["images"].dtype == np.uint8 and train["labels"].dtype == np.int64
    assert json.loads(artifacts.CLASSES.read_text()) == {"classes": list("0123456789")}


def test_the_committed_data_sets_are_valid_and_those_with_digests_have_four() -> None:
    found = params.load(ROOT / "params.yaml").mnist.datasets
    assert {"mnist", "fashion", "kmnist", "letters", "cifar10", "svhn", "digits", "photographs"} <= set(found)
    for block in found.values():
        for source in block.sources:
            assert source.kind != "torchvision" or source.location in torchvision_sets.LOCATIONS
