"""The packages that requirements.txt pins."""

from __future__ import annotations

import re
from pathlib import Path

from stages.core.paths import ROOT

FILE = ROOT / "requirements.txt"
PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+==[^\s;\\]+)")


def pinned(path: Path = FILE) -> list[str]:
    """The pins NAME==VERSION of a compiled requirements file, in its order; names are in lower case, with hyphens."""
    return PIN.findall(path.read_text(encoding="utf-8"))


def direct() -> list[str]:
    """Those pins that requirements.in asks for by name."""
    asked = re.findall(r"(?m)^[A-Za-z0-9._-]+", FILE.with_suffix(".in").read_text(encoding="utf-8"))
    names = {re.sub(r"[._-]+", "-", name).lower() for name in asked}
    return [pin for pin in pinned() if pin.split("==")[0] in names]
