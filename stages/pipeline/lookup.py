"""Values of nested mappings by their dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def look_up(values: Any, key: str) -> Any:
    """The value under a dotted key, or None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
