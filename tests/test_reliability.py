"""docs/reliability.md says what was tried, how often and how it ended."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from tests import small
from tests.reliability import Try, table
from tests.small import environment

TESTS = '''"""Doors that somebody shakes. More is not said of them."""

import pytest
from hypothesis import given, settings, strategies


@pytest.mark.parametrize("how", ["hard", "softly"])
def test_a_closed_door_stays_closed(how):
    pass


@pytest.mark.parametrize("how", ["hard", "softly"])
def test_an_open_door_falls_shut(how, record_property):
    record_property("ended", "a | bang" if how == "hard" else "quiet")


def test_a_door_is_shaken_often(record_property):
    record_property("tries", 1000)


@settings(max_examples=30, derandomize=True)
@given(strategies.integers())
def test_every_door_has_a_handle(number):
    assert number == number


@pytest.mark.parametrize("how", ["hard", "softly"])
def test_no_door_breaks(how):
    assert how == "softly"


def test_a_door_without_a_frame(frame):
    pass


@pytest.mark.skip
def test_a_door_that_is_away():
    pass


def test_a_door_that_may_be_away():
    pytest.skip("away")
'''
ROWS = """
| A closed door stays closed | 2 | as it says |
| A door is shaken often | 1,000 | as it says |
| A door that may be away | 1 | not tried |
| An open door falls shut: hard | 1 | a \\| bang |
| An open door falls shut: softly | 1 | quiet |
| Every door has a handle | 30 | as it says |
| No door breaks | 2 | **not so**: hard |
"""


def test_the_page_is_what_the_tests_did(tmp_path: Path) -> None:
    (tmp_path / "test_doors.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for processes in ("0", "2"):
        command = [sys.executable, "-m", "pytest", "-p", "tests.reliability", "--reliability", "page.md", "-n", processes]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        page = (tmp_path / "page.md").read_text()
        assert "1,037 tries in 11 tests, of which 2 failed. Python 3." in page
        assert ROWS in page and "## Doors that somebody shakes. More is not said of them\n" in page
        assert "## What could not be tried\n" in page
        assert "| A door without a frame | 0 | **not so**: test_doors.py::test_a_door_without_a_frame |" in page
        assert "| A door that is away | 0 | not tried: test_doors.py::test_a_door_that_is_away |" in page


def test_a_page_on_which_all_went_well_says_so() -> None:
    page = table([Try("A", "test_it_holds", "", 1, "passed")], "With care.")
    assert "1 tries in 1 tests, of which none failed. With care." in page and "not so" not in page


def test_all_that_make_nightly_tries_is_on_the_page(request: pytest.FixtureRequest) -> None:
    (chosen,) = re.findall(r'^TRIED := .* -m "(.*)"$', (ROOT / "Makefile").read_text(), re.MULTILINE)
    items = request.config.stash[small.COLLECTED]
    if {item.path for item in items} != set((ROOT / "tests").glob("test_*.py")):
        pytest.skip("only some files were collected")
    marks = set(chosen.split(" or "))
    names = {
        str(getattr(item, "originalname", item.name)) for item in items if marks & {one.name for one in item.iter_markers()}
    }
    page = (ROOT / "docs/reliability.md").read_text()
    said = set(re.findall(r"^\| ([^|:]+)", page, re.MULTILINE)) - {"what was tried "}
    assert len(names) > 50
    assert {Try("", name, "", 1, "passed").said for name in names} == {one.strip() for one in said}
    assert "**not so**" not in page
