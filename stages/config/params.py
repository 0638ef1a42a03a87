"""params.yaml as typed, validated values.

Every stage validates the whole file against `schema.py` before it does anything; a mistake is one line that names the key, the
value and what is accepted. `python -m stages.config.params` validates params.yaml, mixtures.yaml and
claims.yaml and does nothing else.

The block of a method is checked against the signature of the method's class, read from its source (`field_types.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import create_model

from stages.config import claims, mixture, yaml_file
from stages.config.base import MNIST_PREFIX, Block, Train
from stages.config.messages import check, show
from stages.config.method_blocks import block_of, listed_methods
from stages.config.schema import IMAGES, POINTS, Settings
from stages.core.errors import InvalidParams, UserError
from stages.core.paths import PARAMS

MOST = 2**31 - 1
"""The largest whole number that is accepted anywhere: seeds go so far, and of nothing does a machine hold more."""


class Params(Settings):
    """The whole of params.yaml; the blocks of the methods are in `blocks`."""

    blocks: dict[str, Any]

    def method(self, block: str) -> tuple[dict[str, Any], Train]:
        """The keyword arguments of a method and how to train it, from the block of that name.

        Raises:
            UserError: there is no such block.
        """
        if block not in self.blocks:
            raise UserError(f"{block!r} is no method of params.yaml: expected one of {', '.join(self.blocks)}")
        settings = self.blocks[block].model_dump()
        settings.pop("train")
        return settings, self.blocks[block].train


def read(path: Path = PARAMS) -> dict[str, Any]:
    """The file as it is written, unchecked but for being YAML with named keys.

    Raises:
        InvalidParams: it is not.
    """
    return yaml_file.read(path)


def load(path: Path = PARAMS) -> Params:
    """Read and check the whole file.

    Raises:
        InvalidParams: with one line that says what is wrong.
    """
    raw = read(path)
    blocks = _blocks(path, raw)
    whole = _whole(blocks)
    checked = check(path, whole, raw)
    for place, value in _whole_numbers(checked.model_dump()):
        if value > MOST:
            raise InvalidParams(f"{path}: {place}: {show(value)} is not accepted: expected at most {MOST}")
    values = {name: getattr(checked, name) for name in Settings.model_fields}
    return Params.model_construct(**values, blocks={name: getattr(checked, name) for name in blocks})


def _whole_numbers(value: Any, place: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers in nested values, with their keys."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _whole_numbers(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, int):
        yield place, value


def schema(path: Path = PARAMS) -> dict[str, Any]:
    """What the file may hold, with the blocks of the methods that it names, as JSON Schema.

    Raises:
        InvalidParams: it is not YAML, or names no methods.
    """
    return _whole(_blocks(path, read(path))).model_json_schema()


def _blocks(path: Path, raw: dict[str, Any]) -> dict[str, type[Block]]:
    """The models of the blocks of all methods that the file lists or has blocks of."""
    points, images = listed_methods(path, raw)
    return {name: block_of(name, POINTS) for name in points} | {MNIST_PREFIX + name: block_of(name, IMAGES) for name in images}


def _whole(blocks: dict[str, type[Block]]) -> type[Settings]:
    """The model of the whole file."""
    fields: dict[str, Any] = {name: (model, ...) for name, model in blocks.items()}
    return create_model("Whole", __base__=Settings, **fields)


def main() -> int:
    """Check the params file that is the first argument, or params.yaml, mixtures.yaml and claims.yaml."""
    try:
        if len(sys.argv) > 1:
            load(Path(sys.argv[1]))
        else:
            mixture.chosen(load().mog)
            claims.load()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
