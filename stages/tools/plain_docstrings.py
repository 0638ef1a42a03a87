"""An extension of griffe, which reads docstrings for the book: they are plain text, so `*` and `_` are no markup."""

from __future__ import annotations

import re
from typing import Any

import griffe

CODE = re.compile(r"(`[^`]*`|^    .*$)", re.MULTILINE)
"""Code in a docstring, which stays as it is."""


class PlainDocstrings(griffe.Extension):  # type: ignore[misc]
    """Escapes the characters that Markdown would read as emphasis."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Escape the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = escaped(obj.docstring.value)


def escaped(text: str) -> str:
    """The text with `*` and `_` escaped, except in code."""
    return "".join(part if CODE.fullmatch(part) else re.sub(r"([*_])", r"\\\1", part) for part in CODE.split(text))
