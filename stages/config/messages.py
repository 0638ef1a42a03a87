"""Validation of configuration files, with errors of one line that name the key, the value and the accepted values."""

from __future__ import annotations

import difflib
import reprlib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stages.config.base import Block
from stages.core.errors import InvalidParams

Checked = TypeVar("Checked", bound=Block)


def check(path: Path, model: type[Checked], raw: Any, place: str = "") -> Checked:
    """Validate the content of a file.

    Args:
        path: of the file, for the message.
        model: that validates the content.
        raw: the parsed content.
        place: dotted key of the content in the file; empty for the whole file.

    Raises:
        InvalidParams: the content is not valid; one line has the first error and the number of further ones.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # A misspelt key also counts as missing under its right name. Report the misspelling first.
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        key, wrong = _explain(details[0], model)
        raise InvalidParams(f"{path}: {'.'.join(filter(None, (place, key)))}: {wrong}{more}") from None


def _explain(detail: ErrorDetails, model: type[Block]) -> tuple[str, str]:
    """Dotted key and message of an error of pydantic."""
    place = [str(part) for part in detail["loc"]]
    if detail["type"] == "missing":
        return ".".join(place), "this key is missing"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _keys(model, place[:-1]), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; expected {', '.join(_keys(model, place[:-1]))}"
        return ".".join(place), f"{show(detail['input'])} is not accepted: there is no such key{hint}"
    value, message = detail["input"], detail["msg"]
    if detail["type"] == "refusal":
        place += detail["ctx"]["key"].split(".")
        value = detail["ctx"]["value"]
    message = message[0].lower() + message[1:].replace("Input should be", "expected")
    return ".".join(place), f"{show(value)} is not accepted: {message.replace('input should be', 'expected')}"


def _keys(model: type[Block], place: list[str]) -> list[str]:
    """The keys that the model accepts in the block at `place`."""
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        blocks = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Block)]
        if blocks:
            model = blocks[0]
    return list(model.model_fields)


_BRIEF = reprlib.Repr()
"""Formats only a part of a value: with YAML aliases, a few lines can describe more values than fit in memory."""
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxstring, _BRIEF.maxother = 4, 12, 12, 100, 100


def show(value: Any) -> str:
    """A value as quoted in a message, in at most 60 characters."""
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
