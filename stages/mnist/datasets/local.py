"""Local files and folders of images."""

from __future__ import annotations

from pathlib import Path

from stages.core.paths import root


def places(location: str) -> list[Path]:
    """The absolute paths at which a location may be: in the working directory, and in the project.

    They differ in a temporary copy of the project, which lacks the files that git does not track.
    """
    return list(dict.fromkeys((Path(location).resolve(), (root() / location).resolve())))


def folders(location: str) -> list[Path]:
    """The folders at a location.

    Raises:
        ValueError: there is none.
    """
    found = [place for place in places(location) if place.is_dir()]
    if not found:
        raise ValueError("there is no such folder")
    return found


def file(location: str) -> Path:
    """The regular file at a location.

    Raises:
        ValueError: there is none.
    """
    found = next((place for place in places(location) if place.is_file()), None)
    if found is None:
        raise ValueError("there is no such file")
    return found
