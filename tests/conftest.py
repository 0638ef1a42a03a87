"""Fixtures that several tests share."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from tests import small

# A shell script makes its background commands, and all their children, ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Property tests use the same few examples in every run, or many new ones in `make nightly`.
settings.register_profile("few", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile("many", max_examples=250, deadline=None, derandomize=False, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the property tests, and record all tests before any is deselected."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("properties")
    config.stash[small.COLLECTED] = list(items)


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A small clone after `make repro`, committed, and shared by all test processes; tests must not change it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder, done = shared / "small", shared / "small.done"
    with FileLock(shared / "small.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            small.clone(folder)
            (shared / small.PRINTED).write_text(small.reproduce(folder, "2", ENERGY_WELLS_TRACK="later"))
            small.run(folder, "python", "-m", "stages.track")
            small.run(folder, "git", "add", "--all")
            small.run(folder, "git", "commit", "--quiet", "--message=reproduced")
            done.touch()
    return folder


@pytest.fixture
def copied(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced small clone, cache included, that a test may change."""
    folder = tmp_path / "copy"
    # DVC creates and removes temporary files while another test reads the clone.
    shutil.copytree(
        reproduced, folder, symlinks=True, ignore=lambda parent, _: {"tmp"} if Path(parent).name == ".dvc" else set()
    )
    return folder
