"""params.yaml as typed, validated values.

Every stage validates the file before it starts: all settings here, and the block of its own method in `stages.nn.build`, so
that a stage without networks does not import torch. `python -m stages.tools.check` validates all blocks of all files.
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

MOST = 2**31 - 1
"""The largest whole number that is accepted anywhere: seeds go so far, and of nothing does a machine hold more."""


class Params(Settings):
    """The whole of params.yaml. `blocks` has the block of each method as it is written."""

    path: Path
    blocks: dict[str, dict[str, Any]]

    def block(self, name: str) -> dict[str, Any]:
        """The params block of a method, as it is written.

        Raises:
            UserError: there is no such block.
        """
        if name not in self.blocks:
            raise UserError(f"{name!r} is no method of params.yaml: expected one of {', '.join(self.blocks)}")
        return self.blocks[name]


def read(path: Path = PARAMS) -> dict[str, Any]:
    """The file as it is written, unchecked but for being YAML with named keys.

    Raises:
        InvalidParams: it is not.
    """
    return yaml_file.read(path)


def load(path: Path = PARAMS) -> Params:
    """Read the file and validate everything but the content of the blocks of methods.

    Raises:
        InvalidParams: the file is not accepted; the message is one line.
    """
    raw = read(path)
    blocks = method_blocks(path, raw)
    whole = create_model("Whole", __base__=Settings, **dict.fromkeys(blocks, (dict[str, Any], ...)))  # type: ignore[call-overload]
    checked = check(path, whole, raw)
    for place, value in _whole_numbers(raw):
        if value > MOST:
            raise InvalidParams(f"{path}: {place}: {show(value)} is not accepted: expected at most {MOST}")
    values = {name: getattr(checked, name) for name in Settings.model_fields}
    return Params.model_construct(**values, path=path, blocks={name: raw[name] for name in blocks})


def _whole_numbers(value: Any, place: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers in nested values, with their keys."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _whole_numbers(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, int):
        yield place, value
