"""One line for what is wrong with a configuration file: the key, the value and what is accepted."""

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
    """The content of a file as a validated `model`; `place` is the key that it stands under, where that is not the whole file.

    Raises:
        InvalidParams: with one line about the first mistake and the number of the others.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        # A misspelt key is missing under its right name too: say what was misspelt.
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        key, wrong = _explain(details[0], model)
        raise InvalidParams(f"{path}: {'.'.join(filter(None, (place, key)))}: {wrong}{more}") from None


def _explain(detail: ErrorDetails, model: type[Block]) -> tuple[str, str]:
    """The key of the first thing that is wrong, and what is wrong there."""
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
    """The keys that the block at `place` may have."""
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        blocks = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Block)]
        if blocks:
            model = blocks[0]
    return list(model.model_fields)


_BRIEF = reprlib.Repr()
"""Looks at a part of a value only: what aliases make of a few lines may have more parts than any memory."""
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxstring, _BRIEF.maxother = 4, 12, 12, 100, 100


def show(value: Any) -> str:
    """A value as a message quotes it."""
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
