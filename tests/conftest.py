"""Fixtures that several tests share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from tests import browsing, small

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


def made_once(factory: pytest.TempPathFactory, worker: str, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test process to need it makes, and all share."""
    base = factory.getbasetemp()
    shared = base if worker == "master" else base.parent
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A small clone after `make repro`, committed, and shared by all test processes; tests must not change it."""

    def make(folder: Path) -> None:
        small.clone(folder)
        (folder.parent / small.PRINTED).write_text(small.reproduce(folder, "2", ENERGY_WELLS_TRACK="later"))
        small.run(folder, "python", "-m", "stages.track")
        small.run(folder, "git", "add", "--all")
        small.run(folder, "git", "commit", "--quiet", "--message=reproduced")

    return made_once(tmp_path_factory, worker_id, "small", make)


@pytest.fixture(scope="session")
def page_project(reproduced: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A small clone with a page of the methods of tests/browsing.py, shared by all test processes; tests must not change it."""

    def make(folder: Path) -> None:
        shutil.copytree(reproduced, folder, symlinks=True)
        small.change_params(folder, browsing.CHANGES)
        small.reproduce(folder, "2", ENERGY_WELLS_TRACK="later")

    return made_once(tmp_path_factory, worker_id, "page", make)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browsing.BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, page_project: Path) -> Iterator[browsing.OpenedPage]:
    """The page; in the end the test fails if the page wrote to the console or requested anything outside reports/."""
    opened = browsing.OpenedPage(browser, page_project)
    yield opened
    reports = (page_project / "reports").as_uri()
    assert [url for url in opened.requests if not url.startswith(reports)] == []
    assert opened.messages == []
    opened.context.close()


@pytest.fixture
def copied(reproduced: Path, tmp_path: Path) -> Path:
    """A copy of the reproduced small clone, cache included, that a test may change."""
    folder = tmp_path / "copy"
    # DVC creates and removes temporary files while another test reads the clone.
    shutil.copytree(
        reproduced, folder, symlinks=True, ignore=lambda parent, _: {"tmp"} if Path(parent).name == ".dvc" else set()
    )
    return folder
