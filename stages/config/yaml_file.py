"""YAML files as DVC writes and reads them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from stages.config.messages import show
from stages.core.errors import InvalidParams

DEPTH = 100
"""Blocks within blocks, of which no file of ours needs ten: the parser in C would end the process at some hundred thousand."""
DIGITS = 30
"""Of a whole number: a longer one is none that anything here could work with, and is infinite."""
WRITTEN = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
"""What is more than a text, and how it may begin: where YAML 1.1, which PyYAML reads, and 1.2, which DVC reads, agree."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the one in C is seven times as fast
    """YAML as DVC writes and reads it: `1e-05` is a number, `yes` and `010` are texts, and a key may stand only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.YAMLError(f"the key {key.value} stands twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _constructor(kind: str, make: Callable[[str], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    """Makes a value of a text, also where a tag says that it is of this kind."""

    def construct(loader: Any, node: yaml.ScalarNode) -> Any:
        text = loader.construct_scalar(node)
        if not re.fullmatch(WRITTEN[kind][0], text):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {text[:40]!r} is no {kind}")
        return make(text)

    return construct


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_MAKE: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text) if len(text) <= DIGITS else float(text),
    "float": lambda text: _float(text.lower()),
    "null": lambda text: None,
}
_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("str", "seq", "map")
}
for _kind, (_pattern, _begin) in WRITTEN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_begin))
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _constructor(_kind, _MAKE[_kind]))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def _no_deeper(text: str) -> None:
    """Refuse blocks within blocks within blocks and so on."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise yaml.YAMLError(f"more than {DEPTH} blocks within one another")


def read(path: Path) -> dict[str, Any]:
    """A YAML file as it is written, unchecked but for being one with named keys.

    Raises:
        InvalidParams: it is not.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _no_deeper(text)
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise InvalidParams(f"{path}: {error.strerror}") from None
    except Exception as error:  # whatever else somebody's bytes make of the parser
        raise InvalidParams(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise InvalidParams(f"{path}: expected named keys with values, found {show(raw)}")
    return raw
