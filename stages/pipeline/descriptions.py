"""What a method's file says about the method, read without importing it.

The first line of its docstring is `FULL NAME (SHORT NAME): what it does.`; the short name and what it does may be missing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from stages.core.paths import ROOT

FIRST_LINE = re.compile(r"(?P<title>[^(:].*?)(?: \((?P<short>[^()]+)\))?(?:: .+?)?\.?")
"""The form of the first line."""
LONGEST, LONGEST_SHORT = 60, 30
"""Most letters in a title and in a short name: there is no room for more in tables and figures."""


@dataclass(frozen=True)
class Description:
    """The names of a method.

    Args:
        title: its full name.
        short: its name where there is little room.
    """

    title: str
    short: str


def describe(name: str) -> Description:
    """The names of the method called `name`: `name` in words where its file gives none, or too long a one."""
    file = ROOT / f"stages/methods/{name}.py"
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file.is_file() else None
    found = FIRST_LINE.fullmatch((docstring or "").partition("\n")[0])
    words = name.replace("_", " ")
    title = found["title"] if found and len(found["title"]) <= LONGEST else words
    short = (found["short"] if found else None) or title
    return Description(title, short if len(short) <= LONGEST_SHORT else words)
