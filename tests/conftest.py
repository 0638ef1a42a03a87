"""Fixtures that several tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import small


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clone after `dvc repro`, committed; tests only read it."""
    folder = small.clone(tmp_path_factory.mktemp("small"))
    small.run(folder, "dvc", "repro")
    small.run(folder, "git", "add", "--all")
    small.run(folder, "git", "commit", "--quiet", "--message=reproduced")
    return folder


@pytest.fixture
def copied(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced small clone, cache included, that a test may change."""
    folder = tmp_path / "copy"
    shutil.copytree(reproduced, folder, symlinks=True)
    return folder
