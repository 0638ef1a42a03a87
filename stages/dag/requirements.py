"""The packages that requirements.txt pins."""

from __future__ import annotations

import re
from pathlib import Path

from stages.core.paths import ROOT

FILE = ROOT / "requirements.txt"
"""The compiled requirements of the pipeline; requirements.in lists the direct ones."""
PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+==[^\s;\\]+)")
"""A pinned package at the start of a line."""


def pinned(path: Path = FILE) -> list[str]:
    """The pins NAME==VERSION of a compiled requirements file, in file order; names are lower case with hyphens."""
    return PIN.findall(path.read_text(encoding="utf-8"))


def direct() -> list[str]:
    """The pins of the packages that requirements.in names."""
    listed = re.findall(r"(?m)^[A-Za-z0-9._-]+", FILE.with_suffix(".in").read_text(encoding="utf-8"))
    names = {re.sub(r"[._-]+", "-", name).lower() for name in listed}
    return [pin for pin in pinned() if pin.split("==")[0] in names]
