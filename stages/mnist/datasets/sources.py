"""The sources of a data set of images, tried in order: all must provide the same images.

The first source whose images have the digests is used. If all sources fail, one error lists the reasons. Without digests in
params.yaml, those of the first images are recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from stages.config.images import Dataset, Source
from stages.core.errors import DataUnavailable
from stages.mnist.datasets import bundled, idx_folder, image_folder, npz, record, torchvision_sets, wheel
from stages.mnist.datasets.parts import Attempt, Parts, checked, mixed
from stages.pipeline import artifacts


def fetch(name: str, dataset: Dataset) -> Parts:
    """The images and labels of a data set, from the first source that provides them.

    Args:
        name: of the data set in params.yaml.
        dataset: its block.

    Raises:
        DataUnavailable: no source provided the images; the message lists the reason for each.
    """
    recorded = {} if dataset.digests else record.read(name)
    digests = recorded or {str(array): digest for array, digest in dataset.digests.items()}
    answers = []
    for source in dataset.sources:
        attempts = _attempts(source, dataset, digests)
        while True:
            try:
                # A generator that raises ends there, so the loop terminates.
                attempt = next(attempts, None)
                if attempt is None:
                    break
                parts = attempt()
                found = parts.digests()
                for array, digest in found.items():
                    if digest != digests.get(array, digest):
                        raise ValueError(_difference(array, digest, digests[array], name if recorded else ""))
                parts = checked(parts, dataset)
            except Exception as error:  # malformed data can raise anything in a parser; try the next source
                text = " ".join(str(error).split())
                answers.append(f"{source.kind} {source.location}: {text[:300] or type(error).__name__}")
            else:
                if not digests:
                    record.write(name, found)
                return mixed(parts)
    raise DataUnavailable("no source gave the images: " + "; ".join(answers))


def _attempts(source: Source, dataset: Dataset, digests: Mapping[str, str]) -> Iterator[Attempt]:
    """Attempts to get the images of a source: one for each mirror of torchvision, else one."""
    match source.kind:
        case "torchvision":
            yield from torchvision_sets.attempts(source.location)
        case "folder":
            yield partial(idx_folder.read, source.location, digests)
        case "images":
            yield partial(image_folder.read, source.location, dataset.side, dataset.channels)
        case "npz":
            yield partial(npz.read, source.location)
        case "wheel":
            yield partial(wheel.read, source.location)
        case "sklearn":
            yield partial(bundled.read, source.location, dataset.side)


def _difference(array: str, found: str, wanted: str, recorded_for: str) -> str:
    text = f"{array} has the digest {found[:12]}…, expected {wanted[:12]}…"
    if recorded_for:
        text += f" as at the first use; to accept the new images, delete {artifacts.digests(recorded_for)}"
    return text
