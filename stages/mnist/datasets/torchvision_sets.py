"""Source kind `torchvision`: data sets that torchvision knows the addresses of, downloaded within limits on time and size."""

from __future__ import annotations

import io
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from stages.mnist.datasets.download import download
from stages.mnist.datasets.idx_folder import FILES, from_files
from stages.mnist.datasets.parts import DIGITS, Attempt, Parts
from stages.mnist.datasets.unpack import unpack

LOCATIONS = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST letters", "CIFAR10", "SVHN")
"""The supported data sets."""


def attempts(location: str) -> Iterator[Attempt]:
    """Attempts to download a data set of `LOCATIONS`, one for each of its mirrors.

    Raises:
        ValueError: there is no such data set.
    """
    import torchvision.datasets

    if location not in LOCATIONS:
        raise ValueError(f"torchvision has no such data set of images, expected one of {', '.join(LOCATIONS)}")
    if location in ("MNIST", "FashionMNIST", "KMNIST"):
        kind = getattr(torchvision.datasets, location)
        classes = DIGITS if location == "MNIST" else tuple(kind.classes)
        for mirror in kind.mirrors:
            yield partial(_idx_files, mirror, [name for name, _ in kind.resources], classes)
    else:
        yield {"EMNIST letters": _letters, "CIFAR10": _cifar10, "SVHN": _svhn}[location]


def _idx_files(mirror: str, resources: list[str], classes: tuple[str, ...]) -> Parts:
    files = {}
    for resource in resources:
        packed = io.BytesIO()
        download(urllib.parse.urljoin(mirror, resource), packed)
        packed.seek(0)
        name = next(name for name, stem in FILES.items() if Path(resource).name.startswith(stem))
        files[name] = unpack(packed)
    return from_files(files, classes)


def _letters() -> Parts:
    """The split `letters` of EMNIST, upright, with the labels 1 to 26 as 0 to 25."""
    from torchvision.datasets import EMNIST

    files = {}
    with tempfile.TemporaryDirectory() as folder:
        _verified(EMNIST.url, Path(folder) / "gzip.zip", EMNIST.md5)
        with zipfile.ZipFile(Path(folder) / "gzip.zip") as archive:
            for name, stem in FILES.items():
                part = "train" if name.startswith("train") else "test"
                with archive.open(f"gzip/emnist-letters-{part}-{stem.partition('-')[2]}.gz") as packed:
                    files[name] = unpack(packed)
    stored = from_files(files)
    return Parts(
        np.ascontiguousarray(stored.train_images.swapaxes(1, 2)),
        stored.train_labels - np.uint8(1),
        np.ascontiguousarray(stored.test_images.swapaxes(1, 2)),
        stored.test_labels - np.uint8(1),
        tuple(EMNIST.classes_split_dict["letters"][1:]),
    )


def _cifar10() -> Parts:
    from torchvision.datasets import CIFAR10

    with tempfile.TemporaryDirectory() as folder:
        _verified(CIFAR10.url, Path(folder) / CIFAR10.filename, CIFAR10.tgz_md5)
        # `download` unpacks the verified archive, and the class compares the digest of each pickle before it reads it.
        train, test = (CIFAR10(folder, train=part, download=True) for part in (True, False))
    return Parts(
        train.data,
        np.array(train.targets, dtype=np.uint8),
        test.data,
        np.array(test.targets, dtype=np.uint8),
        tuple(train.classes),
    )


def _svhn() -> Parts:
    from torchvision.datasets import SVHN

    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "test"):
            url, name, md5 = SVHN.split_list[part]
            _verified(url, Path(folder) / name, md5)
        train, test = (SVHN(folder, split=part) for part in ("train", "test"))
    return Parts(
        np.ascontiguousarray(train.data.transpose(0, 2, 3, 1)),
        train.labels.astype(np.uint8),
        np.ascontiguousarray(test.data.transpose(0, 2, 3, 1)),
        test.labels.astype(np.uint8),
        DIGITS,
    )


def _verified(url: str, path: Path, md5: str) -> None:
    """Download a file and compare its digest with that in torchvision.

    Raises:
        ValueError: the download fails, or the file has another digest.
    """
    from torchvision.datasets.utils import check_integrity

    with path.open("wb") as target:
        download(url, target)
    if not check_integrity(str(path), md5):
        raise ValueError(f"{path.name} does not have the MD5 digest {md5[:12]}… that torchvision expects")
