"""The names of methods, read from the first line of their files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from stages.pipeline import descriptions
from stages.pipeline.descriptions import Description, describe


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Full name (FN): does this.", Description("Full name", "FN")),
        ("Full name: does this.", Description("Full name", "Full name")),
        ("Full name (FN).", Description("Full name", "FN")),
        ("Full name.\n\nMore.", Description("Full name", "Full name")),
        ("Score matching v1.5 (SM): e.g. this.", Description("Score matching v1.5", "SM")),
        ("JEPA, e.g. BYOL: x: y.", Description("JEPA, e.g. BYOL", "JEPA, e.g. BYOL")),
        ("Name (A) (B): x.", Description("Name (A)", "B")),
        (f"{'Long ' * 13}name.", Description("mine", "mine")),
        (f"{'Long ' * 7}name.", Description(f"{'Long ' * 7}name", "mine")),
    ],
)
def test_first_line_gives_the_names_and_the_summary(
    docstring: str, expected: Description, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stages/methods").mkdir(parents=True)
    (tmp_path / "stages/methods/mine.py").write_text(f'"""{docstring}"""\nraise RuntimeError("imported")\n')
    monkeypatch.setattr(descriptions, "ROOT", tmp_path)
    assert describe("mine") == expected


@pytest.mark.parametrize("text", ["", "x = 1\n", '"""(no name)"""\n'])
def test_method_without_such_a_line_is_called_by_its_name(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stages/methods").mkdir(parents=True)
    (tmp_path / "stages/methods/my_method.py").write_text(text)
    monkeypatch.setattr(descriptions, "ROOT", tmp_path)
    assert describe("my_method") == Description("my method", "my method")


def test_names_of_the_methods_in_the_book_differ() -> None:
    found = [describe(path.stem) for path in (ROOT / "docs/methods").glob("*.md") if path.stem != "index"]
    assert len({one.title for one in found}) == len({one.short for one in found}) == len(found) > 10


def test_describing_a_method_imports_no_torch() -> None:
    code = "import sys; from stages.pipeline.descriptions import describe; describe('dsm'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
