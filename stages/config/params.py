"""Read params.yaml into typed, validated values.

Every stage validates the file before it starts: everything but the blocks of methods here, and the block of its own method in
`stages.nn.build`, so that stages without networks do not import torch. `python -m stages.tools.check` validates everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import create_model

from stages.config import yaml_file
from stages.config.messages import check, show
from stages.config.method_blocks import method_blocks
from stages.config.schema import Settings
from stages.core.errors import InvalidParams, UserError
from stages.core.paths import PARAMS

LARGEST_INTEGER = 2**31 - 1
"""Largest accepted integer: the largest seed, and more than the counts that fit in memory."""


class Params(Settings):
    """All of params.yaml; `blocks` has the blocks of the methods, not validated."""

    path: Path
    blocks: dict[str, dict[str, Any]]

    def block(self, name: str) -> dict[str, Any]:
        """The params block of a method, not validated.

        Raises:
            UserError: there is no such block.
        """
        if name not in self.blocks:
            raise UserError(f"{name!r} is no method of params.yaml: expected one of {', '.join(self.blocks)}")
        return self.blocks[name]


def read(path: Path = PARAMS) -> dict[str, Any]:
    """Read the file without validating its values.

    Raises:
        InvalidParams: the file is not a YAML mapping with strings as keys.
    """
    return yaml_file.read(path)


def load(path: Path = PARAMS) -> Params:
    """Read the file and validate everything except the content of the blocks of methods.

    Raises:
        InvalidParams: the file is not accepted; the message is one line.
    """
    raw = read(path)
    blocks = method_blocks(path, raw)
    whole = create_model("Whole", __base__=Settings, **dict.fromkeys(blocks, (dict[str, Any], ...)))  # type: ignore[call-overload]
    checked = check(path, whole, raw)
    values = {name: getattr(checked, name) for name in Settings.model_fields}
    check_integers(path, checked.model_dump(include=set(Settings.model_fields)))
    return Params.model_construct(**values, path=path, blocks={name: raw[name] for name in blocks})


def check_integers(path: Path, values: dict[str, Any], place: str = "") -> None:
    """Reject integers above LARGEST_INTEGER in validated values.

    Raises:
        InvalidParams: there is one.
    """
    for key, value in _integers(values, place):
        if value > LARGEST_INTEGER:
            raise InvalidParams(f"{path}: {key}: {show(value)} is not accepted: expected at most {LARGEST_INTEGER}")


def _integers(value: Any, place: str = "") -> Iterator[tuple[str, int]]:
    """All integers in nested values, with their dotted keys."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _integers(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, int):
        yield place, value
