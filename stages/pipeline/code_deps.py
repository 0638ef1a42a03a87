"""Which files of the project a module imports, directly and indirectly, read from the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from stages.core.paths import ROOT

CHECKING = {ROOT / "stages/__init__.py", *(ROOT / "stages/core").glob("*.py"), *(ROOT / "stages/config").glob("*.py")}
"""Code that checks params and words refusals: values reach a stage as they are written, so none of it decides a result."""


def _file(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache
def direct(path: Path, at_start: bool = False) -> frozenset[str]:
    """The full names of all modules and members that a file imports, anywhere in it or only when it starts."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def closure(path: Path) -> set[Path]:
    """The file and every file of the project that running it imports, the packages' `__init__.py` among them."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for name in direct(current):
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                file = _file(".".join(parts[:length]))
                if file:
                    waiting.append(file)
    return found


def deciding(path: Path) -> set[Path]:
    """The files of the project that decide what running the file makes."""
    return closure(path) - CHECKING


def third_party(path: Path, at_start: bool = False) -> set[str]:
    """The top-level names of all packages outside the project that running the file imports, or that its start does."""
    return {name.split(".")[0] for file in closure(path) for name in direct(file, at_start)} - {"stages"}
