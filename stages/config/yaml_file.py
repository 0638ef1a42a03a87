"""Read YAML files with the scalar types on which DVC and this project agree."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from stages.config.messages import show
from stages.core.errors import InvalidParams

MAX_DEPTH = 100
"""Most nested blocks. At some hundred thousand, the parser in C would crash the process; our files have fewer than ten."""
MAX_VALUES = 100_000
"""Most values, each alias counted as often as it is used. Our files have some hundreds."""
MAX_DIGITS = 30
"""Most digits of an integer; a longer one is read as a float."""
SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (
        r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
"""Pattern and possible first characters of each scalar type but strings, as YAML 1.1 (PyYAML) and 1.2 (DVC) agree on them."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the loader in C is seven times as fast
    """YAML loader that agrees with DVC: `1e-05` is a number, `yes` and `010` are strings, and duplicate keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.YAMLError(f"duplicate key {key.value} in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _constructor(kind: str, make: Callable[[str], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    """A constructor of scalars of one type, recognised by their form or by an explicit tag."""

    def construct(loader: Any, node: yaml.ScalarNode) -> Any:
        text = loader.construct_scalar(node)
        if not re.fullmatch(SCALARS[kind][0], text):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {text[:40]!r} is not of type {kind}")
        return make(text)

    return construct


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_MAKE: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text) if len(text) <= MAX_DIGITS else float(text),
    "float": lambda text: _float(text.lower()),
    "null": lambda text: None,
}
_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("str", "seq", "map")
}
for _kind, (_pattern, _begin) in SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_begin))
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _constructor(_kind, _MAKE[_kind]))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def _check_depth(text: str) -> None:
    """Refuse more than MAX_DEPTH nested blocks."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"more than {MAX_DEPTH} nested blocks")


def _check_count(content: Any) -> None:
    """Refuse content with more than MAX_VALUES values, such as nested aliases or an alias that contains itself."""
    count, left = 0, [content]
    while left:
        value = left.pop()
        count += 1
        if count > MAX_VALUES:
            raise yaml.YAMLError(f"more than {MAX_VALUES:,} values")
        if isinstance(value, (dict, list)):
            left.extend(value.values() if isinstance(value, dict) else value)


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file without validating its values.

    Raises:
        InvalidParams: the file cannot be read, or is not a YAML mapping with strings as keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_depth(text)
        raw = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
        _check_count(raw)
    except OSError as error:
        raise InvalidParams(f"{path}: {error.strerror}") from None
    except Exception as error:  # arbitrary bytes can raise anything in the parser
        raise InvalidParams(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise InvalidParams(f"{path}: expected named keys with values, found {show(raw)}")
    return raw
