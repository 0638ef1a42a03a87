"""A pytest plugin that writes docs/reliability.md: tests, number of tries, and outcomes.

    python -m pytest -p tests.reliability --reliability docs/reliability.md -m "nightly or properties or hostile"

The name of a test states the expected behaviour, and the first line of its file is the heading of its table. Each parametrised
case is a try. A test that tries more records their number with `record_property("tries", ...)`; a property test counts its
examples. If a case records how it ended with `record_property("ended", ...)`, each case of the test has its own row.
"""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pytest

PACKAGES = ("dvc", "torch", "hypothesis", "pytest")
"""Packages whose versions the page lists."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case of a test.

    Args:
        heading: first line of the test's file.
        name: name of the test function.
        case: id of the parametrised case, empty if there is none.
        tries: number of tries.
        outcome: of the case.
        ended: how the case ended, if it records that.
    """

    heading: str
    name: str
    case: str
    tries: int
    outcome: Literal["passed", "failed", "skipped"]
    ended: str = ""

    @property
    def sentence(self) -> str:
        """The name of the test as a sentence."""
        words = self.name.removeprefix("test_").replace("_", " ")
        return words[0].upper() + words[1:]


def page_of(done: Sequence[Outcome], versions: str) -> str:
    """The page as Markdown: one table per heading, sorted by name."""
    count, failed = sum(one.tries for one in done), sum(one.outcome == "failed" for one in done)
    text = [
        "# Reliability",
        "",
        "Fault, hostile-input and property tests of the pipeline. `make nightly` runs them and writes this page; the name of a"
        " test states the expected behaviour.",
        "",
        f"{count:,} tries in {len(done)} tests, {failed or 'none'} of which failed. {versions}",
    ]
    for heading in sorted({one.heading for one in done}):
        text += ["", f"## {heading.rstrip('.')}", "", "| test | tries | outcome |", "|---|--:|---|"]
        text += list(_rows([one for one in done if one.heading == heading]))
    return "\n".join(text) + "\n"


def _rows(done: Sequence[Outcome]) -> Iterator[str]:
    """One row per test, or one per case if the cases record how they ended."""
    for name in sorted({one.name for one in done}):
        cases = sorted((one for one in done if one.name == name), key=lambda one: one.case)
        if any(one.ended for one in cases):
            yield from (_row(f"{one.sentence}: {one.case}", [one]) for one in cases)
        else:
            yield _row(cases[0].sentence, cases)


def _row(test: str, cases: Sequence[Outcome]) -> str:
    """Test, number of tries and outcome, with the names of skipped or failed cases."""
    ended = cases[0].ended or "passed"
    for outcome, label in (("skipped", "skipped"), ("failed", "**failed**")):
        affected = [one.case for one in cases if one.outcome == outcome]
        if affected:
            ended = ": ".join(filter(None, (label, ", ".join(filter(None, affected)))))
    shown = ended.replace("|", "\\|")
    return f"| {test} | {sum(one.tries for one in cases):,} | {shown} |"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the file to write."""
    parser.addoption(
        "--reliability", metavar="FILE", type=Path, required=True, help="write tests, tries and outcomes to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the reports in the main process, which receives those of all workers."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(config.getoption("reliability")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Record heading, name and case of a test, and count the examples of a property test."""
    test: Any = getattr(item, "obj", None)
    heading = (sys.modules[test.__module__].__doc__ or test.__module__).splitlines()[0]
    callspec = getattr(item, "callspec", None)
    item.user_properties += [("heading", heading), ("name", test.__name__), ("case", callspec.id if callspec else "")]
    if not getattr(test, "is_hypothesis_test", False):
        return (yield)
    inner, examples = test.hypothesis.inner_test, 0

    @functools.wraps(inner)
    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal examples
        examples += 1
        return inner(*arguments, **keywords)

    test.hypothesis.inner_test = counted
    try:
        return (yield)
    finally:
        test.hypothesis.inner_test = inner
        item.user_properties.append(("tries", examples))


class Collector:
    """Collects the outcomes from all processes and writes the page at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[Outcome] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Store the outcome of a test."""
        recorded = dict(report.user_properties)
        if report.when == "call":
            tries, ended = int(str(recorded.get("tries", 1))), str(recorded.get("ended", ""))
            heading, name, case = (str(recorded[key]) for key in ("heading", "name", "case"))
            self.done.append(Outcome(heading, name, case, tries, report.outcome, ended))
        elif report.outcome != "passed":
            name = report.nodeid.split("::")[-1].split("[")[0]
            self.done.append(Outcome("Tests that did not run", name, report.nodeid, 0, report.outcome))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the page, unless the run was interrupted."""
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        self.path.write_text(
            page_of(self.done, f"Python {platform.python_version()}, {packages}, {platform.system()} on {platform.machine()}."),
            encoding="utf-8",
        )
