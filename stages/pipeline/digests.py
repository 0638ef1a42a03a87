"""Digests by which the project knows whether something is what it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def of_file(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_content(content: Any) -> str:
    """The sha256 of anything that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
