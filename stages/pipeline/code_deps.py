"""Code dependencies of a module: the project files that it imports, directly or indirectly, found by parsing the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from stages.core.paths import ROOT

VALIDATION = {ROOT / "stages/__init__.py", *(ROOT / "stages/core").glob("*.py"), *(ROOT / "stages/config").glob("*.py")}
"""Code that validates params and words errors. It passes values on unchanged, so it affects no result."""


def _file(module: str) -> Path | None:
    """The source file of a module of the project; None for any other name."""
    base = ROOT.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@cache
def direct(path: Path, at_start: bool = False) -> frozenset[str]:
    """Full names of the modules and members that a file imports.

    Args:
        path: the source file.
        at_start: only imports at the top level of the module, not those inside functions.
    """
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def closure(path: Path) -> set[Path]:
    """The file and all project files that it imports, directly or indirectly, including the `__init__.py` of packages."""
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


def dependencies(path: Path) -> set[Path]:
    """The project files that affect the results of running the file: its import closure without `VALIDATION`."""
    return closure(path) - VALIDATION


def third_party(path: Path, at_start: bool = False) -> set[str]:
    """Top-level names of the imported packages from outside the project; `at_start` is that of `direct`."""
    return {name.split(".")[0] for file in closure(path) for name in direct(file, at_start)} - {"stages"}
