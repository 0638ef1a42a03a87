"""SHA-256 digests of files and of JSON content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def of_file(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_content(content: Any) -> str:
    """The SHA-256 of JSON-serialisable content, independent of the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
