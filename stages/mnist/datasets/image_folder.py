"""Source kind `images`: a folder of class folders with image files, the layout of torchvision's ImageFolder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.mnist.datasets.local import folders
from stages.mnist.datasets.parts import Parts, as_labels

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Extensions of image files, those of torchvision's ImageFolder."""
TEST_EVERY = 6
"""Without a test folder, one image of so many is a test image."""
Files = dict[str, list[Path]]
"""The image files of each class."""


def read(location: str, side: int, channels: int) -> Parts:
    """The images in a local folder, grey or RGB as `channels` says, at `side` × `side` pixels.

    The class folders are in `train` and `test` (or `val`) or, without these, in the folder itself, where every sixth image of
    a class is a test image. An image of another size is cropped to the square in its centre and resized.

    Raises:
        ValueError: a file or folder cannot be used; the message names it.
    """
    found = _Folder(folders(location)[0])
    train, test = found.parts()
    numbers = {name: number for number, name in enumerate(train)}
    unknown = next((name for name in test if name not in train), None)
    if unknown is not None:
        raise ValueError(f"the test class {unknown!r} has no training images")
    images, labels, resized = {}, {}, 0
    for part, files in (("train", train), ("test", test)):
        paths = [path for name in files for path in files[name]]
        labels[part] = as_labels(np.array([numbers[name] for name in files for _ in files[name]], dtype=np.int64))
        images[part], count = _decoded(paths, found.top, side, channels)
        resized += count
    if resized:
        total = len(images["train"]) + len(images["test"])
        print(f"{location}: {resized:,} of {total:,} images are cropped to a square and resized to {side} × {side} pixels")
    if found.ignored:
        print(f"{location}: {found.ignored:,} files are ignored, since they have no extension of images or no class folder")
    return Parts(images["train"], labels["train"], images["test"], labels["test"], tuple(train))


class _Folder:
    """The files in a folder of images.

    Args:
        top: the folder, without symbolic links in its path.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.ignored = 0

    def parts(self) -> tuple[Files, Files]:
        """The training and test files of each class, in the order of their names.

        Raises:
            ValueError: there are no class folders, or one that is empty.
        """
        names = [entry.name for entry in self._entries(self.top) if entry.is_dir()]
        test = next((name for name in ("test", "val") if name in names), None)
        if "train" in names and test:
            return self._classes(self.top / "train"), self._classes(self.top / test)
        if names == ["train"]:
            raise ValueError("the folder has train, but neither test nor val")
        files = self._classes(self.top)
        single = next((name for name, own in files.items() if len(own) < 2), None)
        if single is not None:
            raise ValueError(f"the class folder {single!r} has one image, expected at least one to train and one to test")
        # Of fewer than six images, the last one.
        first = {name: min(TEST_EVERY, len(own)) - 1 for name, own in files.items()}
        return (
            {name: [one for k, one in enumerate(own) if k % TEST_EVERY != first[name]] for name, own in files.items()},
            {name: own[first[name] :: TEST_EVERY] for name, own in files.items()},
        )

    def _classes(self, folder: Path) -> Files:
        files = {}
        for entry in self._entries(folder):
            if entry.is_dir():
                files[entry.name] = sorted(self._files(Path(entry.path)))
                if not files[entry.name]:
                    raise ValueError(f"the class folder {self._shown(Path(entry.path))} has no images")
            else:
                self.ignored += 1
        if not files:
            raise ValueError(f"{self._shown(folder)} has no class folders, which give the images their labels")
        return files

    def _files(self, folder: Path) -> Iterator[Path]:
        """The image files in and below a class folder."""
        # With the resolved folders on the way there, to detect a link that leads back to one of them.
        waiting: list[tuple[Path, tuple[Path, ...]]] = [(folder, (folder.resolve(),))]
        while waiting:
            here, way = waiting.pop()
            for entry in self._entries(here):
                path = Path(entry.path)
                if entry.is_dir():
                    if (target := path.resolve()) in way:
                        raise ValueError(f"{self._shown(path)} links to a folder that contains it")
                    waiting.append((path, (*way, target)))
                elif path.suffix.lower() not in EXTENSIONS:
                    self.ignored += 1
                elif entry.is_file():
                    yield path
                else:
                    raise ValueError(f"{self._shown(path)} is not a regular file")

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """The entries of a folder by name, without hidden ones."""
        with os.scandir(folder) as entries:
            found = sorted((one for one in entries if not one.name.startswith((".", "__MACOSX"))), key=lambda one: one.name)
        for entry in found:
            if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(self.top):
                raise ValueError(f"{self._shown(Path(entry.path))} links to a place outside the folder")
        return found

    def _shown(self, path: Path) -> str:
        return shown(path, self.top)


def shown(path: Path, top: Path) -> str:
    """A path in a message, relative to the folder of the data set."""
    return repr(str(path.relative_to(top))) if path != top else "the folder"


def _decoded(paths: Sequence[Path], top: Path, side: int, channels: int) -> tuple[NDArray[np.uint8], int]:
    """The pixels (N, side, side) or (N, side, side, 3) of image files, and the number of files of another size."""
    found = np.empty((len(paths), side, side, 3)[: 3 if channels == 1 else 4], np.uint8)
    resized = 0
    with warnings.catch_warnings():
        # Pillow warns of damaged metadata; of an image above its limit of pixels, the warning is an error here.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for number, path in enumerate(paths):
            try:
                with Image.open(path) as image:
                    upright = _converted(image, "L" if channels == 1 else "RGB")
            except UnidentifiedImageError:
                raise ValueError(f"{shown(path, top)} is not an image") from None
            except (Image.DecompressionBombWarning, Image.DecompressionBombError):
                limit = f"{Image.MAX_IMAGE_PIXELS:,}"
                raise ValueError(f"{shown(path, top)} has more than {limit} pixels, the limit of Pillow") from None
            except Exception as error:  # damaged content can raise anything in a decoder
                reason = getattr(error, "strerror", None) or error
                raise ValueError(f"{shown(path, top)} cannot be read: {reason}") from None
            if upright.size != (side, side):
                resized += 1
                upright = ImageOps.fit(upright, (side, side), Image.Resampling.BICUBIC)
            found[number] = np.asarray(upright)
    return found, resized


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image as the camera was held, in 8-bit grey (mode L) or colour (mode RGB)."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits, expected 8 or 16")
    return upright.convert(mode)
