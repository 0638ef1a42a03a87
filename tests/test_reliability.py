"""docs/reliability.md lists the fault, hostile-input and property tests with the number of tries and the outcome."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from tests import small
from tests.reliability import Outcome, page_of
from tests.small import environment

TESTS = '''"""Tests of every kind. The heading is the whole first line."""

import pytest
from hypothesis import given, settings, strategies


@pytest.mark.parametrize("case", ["first", "second"])
def test_a_parametrised_test_counts_its_cases(case):
    pass


@pytest.mark.parametrize("case", ["first", "second"])
def test_an_ending_is_shown_for_each_case(case, record_property):
    record_property("ended", "a | b" if case == "first" else "c")


def test_a_recorded_number_of_tries_is_shown(record_property):
    record_property("tries", 1000)


@settings(max_examples=30, derandomize=True)
@given(strategies.integers())
def test_each_example_of_a_property_counts(number):
    assert number == number


@pytest.mark.parametrize("case", ["first", "second"])
def test_the_failed_case_is_named(case):
    assert case == "second"


def test_a_fixture_is_missing(fixture):
    pass


@pytest.mark.skip
def test_a_mark_skips_the_test():
    pass


def test_a_test_skips_itself():
    pytest.skip("reason")
'''
ROWS = """
| A parametrised test counts its cases | 2 | passed |
| A recorded number of tries is shown | 1,000 | passed |
| A test skips itself | 1 | skipped |
| An ending is shown for each case: first | 1 | a \\| b |
| An ending is shown for each case: second | 1 | c |
| Each example of a property counts | 30 | passed |
| The failed case is named | 2 | **failed**: first |
"""


def test_the_page_lists_every_test_with_its_tries_and_outcome(tmp_path: Path) -> None:
    (tmp_path / "test_kinds.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for processes in ("0", "2"):
        command = [sys.executable, "-m", "pytest", "-p", "tests.reliability", "--reliability", "page.md", "-n", processes]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        page = (tmp_path / "page.md").read_text()
        assert "1,037 tries in 11 tests, 2 of which failed. Python 3." in page
        assert ROWS in page and "## Tests of every kind. The heading is the whole first line\n" in page
        assert "## Tests that did not run\n" in page
        assert "| A fixture is missing | 0 | **failed**: test_kinds.py::test_a_fixture_is_missing |" in page
        assert "| A mark skips the test | 0 | skipped: test_kinds.py::test_a_mark_skips_the_test |" in page


def test_a_page_without_failures_says_that_none_failed() -> None:
    page = page_of([Outcome("A", "test_it_holds", "", 1, "passed")], "Versions.")
    assert "1 tries in 1 tests, none of which failed. Versions." in page and "**failed**" not in page


def test_the_committed_page_lists_all_tests_of_make_nightly(request: pytest.FixtureRequest) -> None:
    (expression,) = re.findall(r'^TRIED := .* -m "(.*)"$', (ROOT / "Makefile").read_text(), re.MULTILINE)
    items = request.config.stash[small.COLLECTED]
    if {item.path for item in items} != set((ROOT / "tests").glob("test_*.py")):
        pytest.skip("only some files were collected")
    marks = set(expression.split(" or "))
    names = {
        str(getattr(item, "originalname", item.name)) for item in items if marks & {one.name for one in item.iter_markers()}
    }
    page = (ROOT / "docs/reliability.md").read_text()
    listed = set(re.findall(r"^\| ([^|:]+)", page, re.MULTILINE)) - {"test "}
    assert len(names) > 50
    assert {Outcome("", name, "", 1, "passed").sentence for name in names} == {one.strip() for one in listed}
    assert "**failed**" not in page
