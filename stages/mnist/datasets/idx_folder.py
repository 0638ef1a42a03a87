"""Source kind `folder`: four idx files in a local folder, plain or as .gz."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from stages.mnist.datasets import unpack
from stages.mnist.datasets.idx import read_idx
from stages.mnist.datasets.local import folders
from stages.mnist.datasets.parts import Parts

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
"""The usual names of the four files."""
MOST_FILES = 200
"""Maximum number of files in a folder whose digests are computed."""


def read(location: str, digests: Mapping[str, str]) -> Parts:
    """The arrays in a local folder, whose files are found by their usual names or else by their digests.

    Raises:
        ValueError: a file is missing or is not an idx file.
    """
    here = folders(location)
    files = {}
    for name, stem in FILES.items():
        path = next((one for folder in here for one in (folder / stem, folder / f"{stem}.gz") if one.is_file()), None)
        if path:
            files[name] = _unpacked(path)
    # File names differ, for example on Kaggle; the digests do not.
    missing = [name for name in FILES if name not in files]
    wanted = {digests[name]: name for name in missing if name in digests}
    for path in (path for folder in here for path in _candidates(folder)) if wanted else ():
        with suppress(OSError, ValueError, EOFError, zlib.error):
            content = _unpacked(path)
            digest = hashlib.sha256(content).hexdigest()
            if digest in wanted:
                files[wanted.pop(digest)] = content
    lacking = next((FILES[name] for name in missing if name not in files), None)
    if lacking:
        raise ValueError(f"the folder has no {lacking}{' and no file with its digest' * bool(digests)}")
    return from_files(files)


def from_files(files: Mapping[str, bytes], classes: tuple[str, ...] | None = None) -> Parts:
    """The arrays in the contents of four idx files, by name.

    Raises:
        ValueError: a content is not that of an idx file; the message names it.
    """
    arrays = {}
    for name in FILES:
        try:
            arrays[name] = read_idx(files[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return Parts(**arrays, classes=classes)


def _candidates(folder: Path) -> Iterator[Path]:
    """At most `MOST_FILES` files up to the size limit in and below a folder; those named like idx files come first."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # no permission to read it
            if path.is_file() and 0 < path.stat().st_size <= unpack.LIMIT:
                found.append(path)
    found.sort(key=lambda path: (not re.search("idx|ubyte", path.name), len(path.parts), path))
    yield from found[:MOST_FILES]


def _unpacked(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    with path.open("rb") as stream:
        return unpack.unpack(stream)
