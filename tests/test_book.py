"""The book: its pages, its tutorials, and what its hooks make of links, equations and graphs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from stages.core.paths import ROOT
from stages.tools import book
from tests.small import environment

METHODS = sorted(path.stem for path in (ROOT / "docs/methods").glob("*.md") if path.stem != "index")
TUTORIALS = sorted(path.stem for path in (ROOT / "docs/tutorials").glob("*.py") if path.stem != "tutorial")
SECTIONS = ("The idea", "The code", "What it learns", "What to expect, and what goes wrong", "Measured", "Exercises")


def nav(entries: Any) -> list[str]:
    """The pages of a navigation tree."""
    if isinstance(entries, str):
        return [entries]
    values = entries.values() if isinstance(entries, dict) else entries
    return [page for value in values for page in nav(value)]


def rewritten(markdown: str, uri: str) -> str:
    """A page's text after the hook."""
    return book.on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=uri), meta={}), {}, [])


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = nav(yaml.safe_load(config)["nav"])
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    made = {f"tutorials/{name}.md" for name in TUTORIALS} | {"reference/index.md"}
    assert sorted(listed) == sorted(pages | made)


@pytest.mark.parametrize("method", METHODS)
def test_page_of_a_method_has_all_sections_pictures_and_exercises(method: str) -> None:
    text = (ROOT / f"docs/methods/{method}.md").read_text(encoding="utf-8")
    assert [heading for heading in re.findall(r"^## (.+)$", text, re.MULTILINE) if heading in SECTIONS] == list(SECTIONS)
    assert f"reports/figures/mog/{method}/landscape.png" in text and f"reports/figures/mog/{method}/training.gif" in text
    assert re.findall(rf"<!-- exercise {method} (\d):start -->", text) == ["1", "2", "3"]
    assert text.count("\ndvc exp run -S ") == 3 and text.count("<summary>Answer</summary>") == 3


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_runs_top_to_bottom_and_writes_nothing(name: str) -> None:
    before = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        [sys.executable, f"docs/tutorials/{name}.py"],
        cwd=ROOT, env=environment(ENERGY_WELLS_QUICK="1"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    after = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert after == before


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_has_mathematics_a_picture_what_to_see_and_three_exercises(name: str) -> None:
    text = (ROOT / f"docs/tutorials/{name}.py").read_text(encoding="utf-8")
    assert "$$" in text or name == "digits"
    assert "show(" in text and "**What to see.**" in text
    assert re.findall(r"^# (\d)\. ", text, re.MULTILINE) == ["1", "2", "3"]
    assert name in (ROOT / "docs/tutorials/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("markdown", "uri", "expected"),
    [
        ("![a](../../reports/figures/a.png)", "methods/x.md", "![a](../files/reports/figures/a.png)"),
        ('<img src="../reports/a.gif" alt="">', "x.md", '<img src="files/reports/a.gif" alt="">'),
        ("[p](../params.yaml)", "x.md", "[p](source/params.yaml.md)"),
        ("[d](design.md#rules)", "x.md", "[d](design.md#rules)"),
        ("[w](https://example.org/a.md)", "x.md", "[w](https://example.org/a.md)"),
        ("[t](infonce.py)", "tutorials/README.md", "[t](infonce.md)"),
        ("[page](../reports/index.html)", "x.md", "[page](page/index.html)"),
    ],
)
def test_links_lead_to_what_the_site_has(markdown: str, uri: str, expected: str) -> None:
    assert rewritten(markdown, uri) == expected


@pytest.mark.parametrize(
    "element", ['<script async src="https://a.org/b.js">', '<link rel="x" href="//a.org/b.css">', '<img src="http://a/b">']
)
def test_a_page_that_loads_something_from_a_network_stops_the_build(element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mkdocs.exceptions", SimpleNamespace(PluginError=RuntimeError))
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", SimpleNamespace(convert=str))
    page = SimpleNamespace(file=SimpleNamespace(src_uri="x.md"))
    assert book.on_post_page('<a href="https://a.org">a</a> <script src="b.js">', page, {})
    with pytest.raises(RuntimeError, match=r"x\.md loads .*a"):
        book.on_post_page(element, page, {})


def test_source_of_a_method_is_shown_in_place() -> None:
    text = rewritten("[stages/methods/dsm.py](../../stages/methods/dsm.py)", "methods/dsm.md")
    assert text == f"```python\n{(ROOT / 'stages/methods/dsm.py').read_text()}```"


def test_source_page_has_a_fence_that_the_source_does_not_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("```\ncode\n```\n")
    monkeypatch.setattr(book, "ROOT", tmp_path)
    assert "````markdown\n```\ncode\n```\n````" in book._source_page("a.md")


@pytest.mark.parametrize(
    ("link", "path"), [("../reports/no_such.png", "reports/no_such.png"), ("../../../etc/hostname", "../../etc/hostname")]
)
def test_a_link_to_a_missing_or_foreign_file_stops_the_build(link: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = SimpleNamespace(PluginError=RuntimeError)
    monkeypatch.setitem(sys.modules, "mkdocs.exceptions", exceptions)
    page = SimpleNamespace(src_uri="x.md", content_string=f"![a]({link})")
    with pytest.raises(RuntimeError, match=f"x.md links to {re.escape(path)}, which does not exist"):
        book.on_files([page], {})


def test_a_server_runs_tutorials_in_their_quick_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_WELLS_QUICK", "")
    book.on_startup("build", dirty=False)
    assert os.environ["ENERGY_WELLS_QUICK"] == ""
    book.on_startup("serve", dirty=False)
    assert os.environ["ENERGY_WELLS_QUICK"] == "1"


def test_wide_pages_have_no_table_of_contents() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="results.md"), meta={})
    book.on_page_markdown("", page, {}, [])
    assert page.meta == {"hide": ["toc"]}


@pytest.mark.parametrize(
    ("letter", "variant", "expected"),
    [("E", "double-struck", "𝔼"), ("R", "double-struck", "ℝ"), ("L", "script", "ℒ"), ("N", "script", "𝒩")],
)
def test_letters_of_mathematical_alphabets(letter: str, variant: str, expected: str) -> None:
    assert book._letter(letter, variant) == expected


def test_graph_has_each_node_once_below_what_it_depends_on() -> None:
    svg = book.graph('a["first & only"] --> b --> c\na --> c\n')
    assert svg.count("<rect") == 3 and svg.count("<line") == 3 and "first &amp; only" in svg
    heights = {label: float(y) for y, label in re.findall(r'<text x="\d+" y="(\d+)"[^>]*>([^<]+)<', svg)}
    assert heights["first &amp; only"] < heights["b"] < heights["c"]
