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

# A script that has put the tests into the background has them, and all that they start, ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Property tests: the same few examples each time, or, in `make nightly`, many that are new each time.
settings.register_profile("few", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile("many", max_examples=250, deadline=None, derandomize=False, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the property tests, which `make nightly` runs with more examples, and note all tests before any is left out."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("properties")
    config.stash[small.COLLECTED] = list(items)


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A small clone after `make repro`, committed, one for all processes that run tests; tests only read it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    folder, done = shared / "small", shared / "small.done"
    with FileLock(shared / "small.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            small.clone(folder)
            (shared / small.SAID).write_text(small.reproduce(folder, "2", ENERGY_WELLS_TRACK="later"))
            small.run(folder, "python", "-m", "stages.track")
            small.run(folder, "git", "add", "--all")
            small.run(folder, "git", "commit", "--quiet", "--message=reproduced")
            done.touch()
    return folder


@pytest.fixture
def copied(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced small clone, cache included, that a test may change."""
    folder = tmp_path / "copy"
    # DVC's temporary files come and go while another test looks at the clone.
    shutil.copytree(reproduced, folder, symlinks=True, ignore=lambda where, _: {"tmp"} if Path(where).name == ".dvc" else set())
    return folder
