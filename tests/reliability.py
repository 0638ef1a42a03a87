"""A plugin of pytest that writes what was tried on the pipeline, how often, and how it ended: docs/reliability.md.

    python -m pytest -p tests.reliability --reliability docs/reliability.md -m "nightly or properties or hostile"

A test's name says what was tried and what has to come of it, its file's first line what it belongs to. Each parametrisation is
a try; a test that tries more says how many with `record_property("tries", ...)`, property tests are counted by their examples.
Where `record_property("ended", ...)` says how a try ended, each one has a row of its own.
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

WITH = ("dvc", "torch", "hypothesis", "pytest")


@dataclass(frozen=True)
class Try:
    """One test that has run."""

    about: str
    name: str
    case: str
    tries: int
    outcome: Literal["passed", "failed", "skipped"]
    ended: str = ""

    @property
    def said(self) -> str:
        """The test's name as a sentence."""
        words = self.name.removeprefix("test_").replace("_", " ")
        return words[0].upper() + words[1:]


def table(done: Sequence[Try], versions: str) -> str:
    """All tries as Markdown, by what they belong to, in the order of their names."""
    count, failed = sum(one.tries for one in done), sum(one.outcome == "failed" for one in done)
    text = [
        "# Reliability",
        "",
        "What was tried on the pipeline, how often, and how it ended. `make nightly` tries all of it and writes this page: the"
        " names of the tests are what has to come of each.",
        "",
        f"{count:,} tries in {len(done)} tests, of which {failed or 'none'} failed. {versions}",
    ]
    for about in sorted({one.about for one in done}):
        text += ["", f"## {about.rstrip('.')}", "", "| what was tried | tries | ended |", "|---|--:|---|"]
        text += list(_rows([one for one in done if one.about == about]))
    return "\n".join(text) + "\n"


def _rows(done: Sequence[Try]) -> Iterator[str]:
    """One row for each test, or for each of its cases where they say how they ended."""
    for name in sorted({one.name for one in done}):
        cases = sorted((one for one in done if one.name == name), key=lambda one: one.case)
        if any(one.ended for one in cases):
            yield from (_row(f"{one.said}: {one.case}", [one]) for one in cases)
        else:
            yield _row(cases[0].said, cases)


def _row(said: str, cases: Sequence[Try]) -> str:
    """What was tried, how often, and how it ended; what went wrong is named."""
    ended = cases[0].ended or "as it says"
    for outcome, words in (("skipped", "not tried"), ("failed", "**not so**")):
        of_them = [one for one in cases if one.outcome == outcome]
        if of_them:
            ended = ": ".join(filter(None, (words, ", ".join(filter(None, (one.case for one in of_them))))))
    shown = ended.replace("|", "\\|")
    return f"| {said} | {sum(one.tries for one in cases):,} | {shown} |"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The file to write."""
    parser.addoption("--reliability", metavar="FILE", type=Path, required=True, help="write what was tried to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Collect the reports where they come together."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector(config.getoption("reliability")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Note what is tried, and count the examples of a property."""
    test: Any = getattr(item, "obj", None)
    about = (sys.modules[test.__module__].__doc__ or test.__module__).splitlines()[0]
    callspec = getattr(item, "callspec", None)
    item.user_properties += [("about", about), ("name", test.__name__), ("case", callspec.id if callspec else "")]
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
    """Gathers the reports of all processes and writes the page at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[Try] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test says of itself."""
        said = dict(report.user_properties)
        if report.when == "call":
            tries, ended = int(str(said.get("tries", 1))), str(said.get("ended", ""))
            self.done.append(Try(str(said["about"]), str(said["name"]), str(said["case"]), tries, report.outcome, ended))
        elif report.outcome != "passed":
            name = report.nodeid.split("::")[-1].split("[")[0]
            self.done.append(Try("What could not be tried", name, report.nodeid, 0, report.outcome))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the page, of a run that came to its end."""
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return
        packages = ", ".join(f"{name} {version(name)}" for name in WITH)
        self.path.write_text(
            table(self.done, f"Python {platform.python_version()}, {packages}, {platform.system()} on {platform.machine()}."),
            encoding="utf-8",
        )
