"""Look up values of nested mappings by dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def look_up(values: Any, key: str) -> Any:
    """The value at a dotted key such as `knn.accuracy.mean`; None if the key is absent."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
