"""Digests of the images of a data set without `digests` in params.yaml: recorded at first use, compared afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages.config import yaml_file
from stages.config.base import Block
from stages.config.images import Digests
from stages.config.messages import check
from stages.core.paths import root
from stages.pipeline import artifacts, files


class Record(Block):
    """The content of the file, in the form of the block in params.yaml."""

    digests: Annotated[Digests, Field(min_length=4)]


def path(name: str) -> Path:
    """The file of a data set, in the project even if called in a temporary copy of it, which is deleted after the run."""
    return root() / artifacts.digests(name)


def read(name: str) -> dict[str, str]:
    """The recorded digests of a data set, by name of the array; empty at its first use.

    Raises:
        InvalidParams: the file is damaged.
    """
    file = path(name)
    if not file.exists():
        return {}
    return {
        str(array): digest for array, digest in check(artifacts.digests(name), Record, yaml_file.read(file)).digests.items()
    }


def write(name: str, digests: Mapping[str, str]) -> None:
    """Record the digests of a data set and say so."""
    lines = [
        f"# SHA-256 of the images of mnist.datasets.{name} at their first use, with which later runs compare.",
        "# In params.yaml, this block makes others compare too. Delete this file to accept other images.",
        "digests:",
        *(f"  {array}: {digest}" for array, digest in digests.items()),
    ]
    files.write_text(path(name), "\n".join(lines) + "\n")
    print(f"mnist.datasets.{name} has no digests: those of its images are now in {artifacts.digests(name)}, for later runs")
