"""What a method's file says about the method, read without importing it.

The first line of its docstring is `FULL NAME (SHORT NAME): what it does.`; the short name and what it does may be missing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from stages.core.paths import ROOT

FIRST_LINE = re.compile(r"(?P<title>[^:(.]+?)(?: \((?P<short>[^)]+)\))?(?:: (?P<summary>.+?))?\.?")
"""The form of the first line."""


@dataclass(frozen=True)
class Description:
    """The names of a method.

    Args:
        title: its full name.
        short: its name where there is little room.
        summary: what it does, in a few words; empty if the file does not say it.
    """

    title: str
    short: str
    summary: str


def describe(name: str) -> Description:
    """The description of the method called `name`; the name in words if its file has no docstring of that form."""
    file = ROOT / f"stages/methods/{name}.py"
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file.is_file() else None
    found = FIRST_LINE.fullmatch((docstring or "").partition("\n")[0])
    if not found:
        words = name.replace("_", " ")
        return Description(words, words, "")
    return Description(found["title"], found["short"] or found["title"], found["summary"] or "")
