"""Folders of images: files of many forms are read; damaged and hostile files are named in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.errors import DataUnavailable
from stages.core.paths import ROOT
from stages.mnist.datasets.parts import Parts
from stages.mnist.datasets.sources import fetch
from tests.data_sets import RNG, dataset

pytestmark = pytest.mark.hostile

SIDE = 8


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the images, in the working directory of each test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "mine"


def write(path: Path, pixels: np.ndarray | int = 0, size: tuple[int, int] = (SIDE, SIDE), mode: str = "L") -> Path:
    """Write an image file of given pixels, or of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.new(mode, size, pixels) if isinstance(pixels, int) else Image.fromarray(pixels)).save(path)
    return path


def two_classes(top: Path, count: int = 12) -> Path:
    """A folder with two class folders of images whose grey values are their numbers, of the second class from 100."""
    for number in range(count):
        write(top / "cat" / f"{number:03}.png", number)
        write(top / "dog" / f"{number:03}.png", 100 + number)
    return top


def fetched(channels: int = 1, **other: object) -> Parts:
    """The data set in the folder mine."""
    return fetch("mine", dataset(("images", "mine"), side=SIDE, channels=channels, **other))


def reason(**other: object) -> str:
    """Why the folder mine cannot be used, a message of one line."""
    with pytest.raises(DataUnavailable) as caught:
        fetched(**other)  # type: ignore[arg-type]
    message = str(caught.value)
    start = "no source gave the images: images mine: "
    assert message.startswith(start) and "\n" not in message and not Path("data").exists()
    message.encode()
    return message.removeprefix(start)


def values(images: np.ndarray) -> set[int]:
    """The grey values of images of one colour each."""
    return set(images[:, 0, 0].tolist())


# ---------------------------------------------------------------- layouts


def test_without_a_test_folder_every_sixth_image_of_a_class_is_a_test_image(folder: Path) -> None:
    two_classes(folder, 13)
    found = fetched()
    assert values(found.test_images) == {5, 11, 105, 111} and found.classes == ("cat", "dog")
    assert values(found.train_images) == {n + c for n in range(13) for c in (0, 100)} - {5, 11, 105, 111}
    assert np.array_equal(found.train_labels, found.train_images[:, 0, 0] >= 100)


def test_of_fewer_than_six_images_the_last_one_is_a_test_image(folder: Path) -> None:
    two_classes(folder, 2)
    assert values(fetched().test_images) == {1, 101}


@pytest.mark.parametrize("name", ["test", "val"])
def test_given_training_and_test_folders_are_used(name: str, folder: Path) -> None:
    two_classes(folder / "train")
    write(folder / name / "dog/a.png", 200)
    found = fetched()
    assert len(found.train_images) == 24 and values(found.test_images) == {200} and found.test_labels.tolist() == [1]


def test_the_order_of_training_images_is_mixed_and_always_the_same(folder: Path) -> None:
    two_classes(folder, 60)
    first, second = fetched(), fetched()
    assert np.array_equal(first.train_images, second.train_images)
    for part in (first.train_labels[:20], first.train_labels[-20:], first.test_labels[:10]):
        assert set(part.tolist()) == {0, 1}


def test_images_in_nested_folders_belong_to_the_class_folder(folder: Path) -> None:
    two_classes(folder)
    write(folder / "cat" / Path(*"abcdefghij" * 8) / "x.png", 50)
    assert 50 in values(fetched().train_images) | values(fetched().test_images)


def test_class_folders_whose_names_differ_in_case_are_two_classes(folder: Path) -> None:
    two_classes(folder)
    write(folder / "Cat/0.png", 201)
    write(folder / "Cat/1.png", 202)
    if len(list(folder.iterdir())) == 3:
        assert fetched().classes == ("Cat", "cat", "dog")


def test_hidden_files_and_folders_are_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_classes(folder)
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "cat/._000.png").write_bytes(b"resource fork")
    (folder / ".DS_Store").write_bytes(b"")
    assert len(fetched().train_images) == 20 and "ignored" not in capsys.readouterr().out


def test_other_files_are_ignored_and_counted_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_classes(folder)
    (folder / "README.md").write_text("no image")
    (folder / "cat/notes.txt").write_text("no image")
    write(folder / "cover.png")
    assert len(fetched().train_images) == 20
    lines = [line for line in capsys.readouterr().out.splitlines() if "digests" not in line]
    assert lines == ["mine: 3 files are ignored, since they have no extension of images or no class folder"]


# ---------------------------------------------------------------- conversions


def decoded(path: Path, pixels: np.ndarray | None = None, channels: int = 1) -> np.ndarray:
    """One image file, which is written from `pixels` if given, as it is read."""
    if pixels is not None:
        write(path, pixels)
    for name in ("a", "b"):
        write(path.parent.parent / f"other/{name}.png", 0)
    write(path.parent / "zz.png", 0)
    found = fetched(channels)
    (place,) = [n for n, image in enumerate(found.train_images) if found.train_labels[n] == 0]
    return found.train_images[place]


NOISE = RNG.integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("extension", ["png", "PNG", "bmp", "ppm", "tif", "webp", "jpg", "jpeg"])
def test_files_of_all_usual_formats_are_read_in_colour_and_grey(extension: str, folder: Path) -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, SIDE).astype(np.uint8)[:, None, None], (SIDE, SIDE, 3)).copy()
    assert np.abs(decoded(folder / f"a/x.{extension}", smooth, 3).astype(int) - smooth).max() < 12
    Path("data/mnist/mine.digests.yaml").unlink()
    assert np.abs(decoded(folder / f"a/x.{extension}", smooth).astype(int) - smooth[..., 0]).max() < 12


def test_pixels_of_the_right_size_are_unchanged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert np.array_equal(decoded(folder / "a/x.png", NOISE, 3), NOISE)
    assert "resized" not in capsys.readouterr().out


def test_grey_images_become_colour_images_of_equal_channels(folder: Path) -> None:
    assert np.array_equal(decoded(folder / "a/x.png", NOISE[..., 0], 3), np.repeat(NOISE[..., :1], 3, 2))


def test_16_bit_images_keep_their_high_bytes(folder: Path) -> None:
    assert np.array_equal(decoded(folder / "a/x.png", NOISE[..., 0].astype(np.uint16) * 257), NOISE[..., 0])


def test_images_with_a_palette_or_transparency_are_read(folder: Path) -> None:
    folder.joinpath("a").mkdir(parents=True)
    Image.fromarray(NOISE).quantize(256).save(folder / "a/x.png", transparency=b"\x80" * 256)
    assert np.abs(decoded(folder / "a/x.png", channels=3).astype(int) - NOISE).max() < 40


def test_a_photograph_is_shown_upright(folder: Path) -> None:
    folder.joinpath("a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(NOISE).save(folder / "a/x.png", exif=exif)
    assert np.array_equal(decoded(folder / "a/x.png", channels=3), NOISE[::-1, ::-1])


def test_larger_images_are_cropped_in_the_centre_and_averaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A chequerboard of single pixels becomes grey; the black margins are cropped.
    board = (np.indices((8 * SIDE, 8 * SIDE)).sum(0) % 2 * 255).astype(np.uint8)
    wide = np.pad(board, ((0, 0), (40, 40)))
    assert np.abs(decoded(folder / "a/x.png", wide).astype(int) - 128)[:, 1:-1].max() < 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "digests" not in line]
    assert lines == ["mine: 1 of 4 images are cropped to a square and resized to 8 × 8 pixels"]


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 2000), (2000, 1), (300, 200)])
def test_images_of_any_size_are_accepted(size: tuple[int, int], folder: Path) -> None:
    two_classes(folder)
    write(folder / "cat/x.png", 77, size)
    assert 77 in values(fetched().train_images) | values(fetched().test_images)


# ---------------------------------------------------------------- what cannot be used


def truncated(folder: Path) -> None:
    path = write(folder / "cat/bad.png", RNG.integers(256, size=(64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-500])


def bomb(folder: Path) -> None:
    """A PNG of a kilobyte with a header of 60,000 × 60,000 pixels."""
    path = write(folder / "cat/bad.png", 0)
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "cat/bad.png")


def outside(folder: Path) -> None:
    (folder / "cat/bad.png").symlink_to(write(folder.parent / "private/x.png"))


def outside_folder(folder: Path) -> None:
    write(folder.parent / "private/x.png")
    (folder / "fox").symlink_to(folder.parent / "private")


def loop(folder: Path) -> None:
    (folder / "cat/bad").symlink_to(folder / "cat")


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated file": (truncated, "'cat/bad.png' cannot be read: image file is truncated"),
    "text with the extension of an image": (
        lambda folder: (folder / "cat/bad.jpg").write_text("<html>"),
        "'cat/bad.jpg' is not an image",
    ),
    "an empty file": (lambda folder: (folder / "cat/bad.png").write_bytes(b""), "'cat/bad.png' is not an image"),
    "a decompression bomb": (bomb, "'cat/bad.png' has more than 89,478,485 pixels, the limit of Pillow"),
    "32-bit pixels": (
        lambda folder: write(folder / "cat/bad.tif", np.zeros((8, 8), np.float32)),
        "'cat/bad.tif' cannot be read: its pixels have 32 bits, expected 8 or 16",
    ),
    "a pipe": (fifo, "'cat/bad.png' is not a regular file"),
    "a link to a missing file": (
        lambda folder: (folder / "cat/bad.png").symlink_to("missing.png"),
        "'cat/bad.png' is not a regular file",
    ),
    "a link that leads outside": (outside, "'cat/bad.png' links to a place outside the folder"),
    "a class folder that leads outside": (outside_folder, "'fox' links to a place outside the folder"),
    "a link that contains itself": (loop, "'cat/bad' links to a folder that contains it"),
    "a link to itself": (
        lambda folder: (folder / "cat/bad.png").symlink_to("bad.png"),
        "[Errno 40] Too many levels of symbolic links",
    ),
    "an empty class folder": (lambda folder: (folder / "fox").mkdir(), "the class folder 'fox' has no images"),
    "a class with one image": (lambda folder: write(folder / "fox/x.png"), "the class folder 'fox' has one image"),
    "an unknown test class": (
        lambda folder: (two_classes(folder / "train"), write(folder / "test/fox/x.png")),
        "the test class 'fox' has no training images",
    ),
    "a class name with markup": (lambda folder: two_classes(folder / "<b>fox"), "the class name '<b>fox' is empty, too long"),
    "a class name with a bar": (lambda folder: two_classes(folder / "a|b"), "the class name 'a|b' is empty, too long"),
    "a class name with a new line": (lambda folder: two_classes(folder / "a\nb"), "the class name 'a\\nb' is empty, too long"),
    "a class name that is not UTF-8": (
        lambda folder: two_classes(folder / os.fsdecode(b"f\xf6x")),
        "the class name 'f\\udcf6x' is empty, too long",
    ),
    "a damaged file whose name is not UTF-8": (
        lambda folder: (folder / os.fsdecode(b"cat/b\xf6d\n.png")).write_bytes(b""),
        "'cat/b\\udcf6d\\n.png' is not an image",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_used_is_named_in_one_line(case: str, folder: Path) -> None:
    change, expected = HOSTILE[case]
    two_classes(folder)
    change(folder)
    assert reason().startswith(expected)


def test_a_folder_without_class_folders_or_with_one_class_is_described(folder: Path) -> None:
    assert reason() == "there is no such folder"
    folder.mkdir()
    assert reason() == "the folder has no class folders, which give the images their labels"
    write(folder / "x.png")
    assert reason() == "the folder has no class folders, which give the images their labels"
    two_classes(folder / "train")
    assert reason() == "the folder has train, but neither test nor val"
    (folder / "test").mkdir()
    assert reason() == "'test' has no class folders, which give the images their labels"


def test_one_class_is_not_enough(folder: Path) -> None:
    for number in range(6):
        write(folder / f"cat/{number}.png", number)
    assert reason() == "all images are of one class, expected at least two classes"


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    two_classes(folder / "train")
    write(folder / "photographs/x.png", 55)
    (folder / "test").mkdir()
    (folder / "test/cat").symlink_to("../photographs")
    assert values(fetched().test_images) == {55}
    (folder / "test/cat").unlink()
    (folder / "test/dog").mkdir()
    (folder / "test/dog/y.png").symlink_to("../../photographs/x.png")
    Path("data/mnist/mine.digests.yaml").unlink()
    assert values(fetched().test_images) == {55}


def test_names_in_the_block_replace_unsafe_names_of_folders(folder: Path) -> None:
    two_classes(folder / "a").rename(folder.parent / "kept")
    folder.rmdir()
    (folder.parent / "kept").rename(folder)
    (folder / "dog").rename(folder / "<b>dog")
    assert fetched(classes=["dog", "cat"]).classes == ("dog", "cat")


def test_files_whose_names_are_not_utf_8_are_read(folder: Path) -> None:
    two_classes(folder)
    write(folder / "cat/x.png", 77).rename(folder / os.fsdecode(b"cat/\xff\xfe.png"))
    assert 77 in values(fetched().train_images) | values(fetched().test_images)


def test_an_unreadable_file_or_folder_is_reported(folder: Path) -> None:
    two_classes(folder)
    code = (
        "from stages.mnist.datasets import image_folder\n"
        "try: image_folder.read('mine', 8, 1)\n"
        "except (ValueError, OSError) as error: print(error)"
    )
    # root may read everything unless it gives up the right.
    unprivileged = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

    def printed() -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*unprivileged, sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    (folder / "cat/003.png").chmod(0)
    assert printed() == "'cat/003.png' cannot be read: Permission denied\n"
    (folder / "dog").chmod(0)
    try:
        assert "Permission denied" in printed()
    finally:
        (folder / "dog").chmod(0o700)


def test_thousands_of_files_are_read(folder: Path) -> None:
    content = write(folder / "a/0.png", 9).read_bytes()
    for name in ("a", "b", "c"):
        (folder / name).mkdir(exist_ok=True)
        for number in range(1000):
            (folder / name / f"{number}.png").write_bytes(content)
    found = fetched()
    assert len(found.train_images) == 2502 and len(found.test_images) == 498
