"""params.yaml as typed, validated values.

The whole file is checked against `schema.py` before any stage does anything; a mistake is one line that names the key, the
value and what is accepted. `python -m stages.params` checks the file and nothing else.

The block of a method is checked against the signature of the method's class, read from its source (`vocabulary.py`).
"""

from __future__ import annotations

import ast
import difflib
import re
import reprlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError, create_model
from pydantic_core import ErrorDetails

from stages import vocabulary
from stages.errors import InvalidParams, UserError
from stages.schema import IMAGES, MNIST_PREFIX, POINTS, Block, Settings, Train

FILE = Path("params.yaml")
METHODS = Path(__file__).parent / "methods"
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


def load(path: Path = FILE) -> Params:
    """Read and check the whole file.

    Raises:
        InvalidParams: with one line that says what is wrong.
    """
    raw = read(path)
    blocks = _blocks(path, raw)
    whole = _whole(blocks)
    try:
        checked = whole.model_validate(raw)
    except ValidationError as error:
        # A misspelt key is missing under its right name too: say what was misspelt.
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise InvalidParams(f"{path}: {_explain(details[0], whole)}{more}") from None
    for place, value in _whole_numbers(checked.model_dump()):
        if value > MOST:
            raise InvalidParams(f"{path}: {place}: {_show(value)} is not accepted: expected at most {MOST}")
    values = {name: getattr(checked, name) for name in Settings.model_fields}
    return Params.model_construct(**values, blocks={name: getattr(checked, name) for name in blocks})


def _whole_numbers(value: Any, place: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers in nested values, with their keys."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _whole_numbers(part, f"{place}.{key}" if place else str(key))
    elif isinstance(value, int):
        yield place, value


def schema(path: Path = FILE) -> dict[str, Any]:
    """What the file may hold, with the blocks of the methods that it names, as JSON Schema.

    Raises:
        InvalidParams: it is not YAML, or names no methods.
    """
    return _whole(_blocks(path, read(path))).model_json_schema()


def _blocks(path: Path, raw: dict[str, Any]) -> dict[str, type[Block]]:
    """The models of the blocks of all methods that the file lists or has blocks of."""
    points, images = _names(path, raw)
    return {name: _schema(name, POINTS) for name in points} | {MNIST_PREFIX + name: _schema(name, IMAGES) for name in images}


def _whole(blocks: dict[str, type[Block]]) -> type[Settings]:
    """The model of the whole file."""
    fields: dict[str, Any] = {name: (model, ...) for name, model in blocks.items()}
    return create_model("Whole", __base__=Settings, **fields)


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


def read(path: Path = FILE) -> dict[str, Any]:
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
        raise InvalidParams(f"{path}: expected named keys with values, found {_show(raw)}")
    return raw


def _names(path: Path, raw: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The methods whose blocks are checked, on the mixture and on the images: all that are listed or have a block."""
    images = raw.get("mnist")
    lists = {"methods": raw.get("methods"), "mnist.methods": images.get("methods") if isinstance(images, dict) else None}
    known = sorted(file.stem for file in METHODS.glob("[!_]*.py"))
    for key, names in lists.items():
        if names is None:
            raise InvalidParams(f"{path}: {key}: this key is missing")
        if not isinstance(names, list) or not names:
            raise InvalidParams(f"{path}: {key}: {_show(names)} is not accepted: expected a list of methods")
        fit = [name for name in known if set(POINTS) & _words(name) <= set(IMAGES if "." in key else POINTS)]
        for name in names:
            if name not in fit:
                raise InvalidParams(f"{path}: {key}: {_show(name)} is not accepted: expected any of {', '.join(fit)}")
        if len(set(names)) < len(names):
            raise InvalidParams(f"{path}: {key}: {_show(names)} is not accepted: expected each method once")
    listed = [set(names or []) for names in lists.values()]
    present = {name for name in known if name in raw}, {name for name in known if MNIST_PREFIX + name in raw}
    on_points, on_images = (sorted(a | b) for a, b in zip(listed, present, strict=True))
    return on_points, on_images


def _signature(name: str) -> dict[str, ast.expr]:
    """The keyword arguments of a method's class with their annotations."""
    tree = ast.parse((METHODS / f"{name}.py").read_text(encoding="utf-8"))
    (cls,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Method" for b in node.bases)
    )
    (init,) = (node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    for argument in init.args.kwonlyargs:
        if argument.annotation is None:
            raise TypeError(f"methods/{name}.py: {argument.arg} has no annotation")
    return {argument.arg: argument.annotation for argument in init.args.kwonlyargs if argument.annotation}


def _words(name: str) -> set[str]:
    """The words that a method's signature uses."""
    return {node.id for annotation in _signature(name).values() for node in ast.walk(annotation) if isinstance(node, ast.Name)}


def _schema(name: str, world: dict[str, type[Block]]) -> type[Block]:
    """The model of a method's params block, from the signature of its class and the words of the world."""
    words = {**vars(vocabulary), **world}
    fields: dict[str, Any] = {key: (_type(annotation, words), ...) for key, annotation in _signature(name).items()}
    return create_model(name, __base__=Block, train=(Train, ...), **fields)


def _type(annotation: ast.expr, words: dict[str, Any]) -> Any:
    """The type that an annotation in our own source stands for."""
    return eval(ast.unparse(annotation), {"__builtins__": {}}, words)  # noqa: S307


def _explain(detail: ErrorDetails, model: type[Block]) -> str:
    """One line for the first thing that is wrong."""
    place = [str(part) for part in detail["loc"]]
    if detail["type"] == "missing":
        return f"{'.'.join(place)}: this key is missing"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _keys(model, place[:-1]), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; expected {', '.join(_keys(model, place[:-1]))}"
        return f"{'.'.join(place)}: {_show(detail['input'])} is not accepted: there is no such key{hint}"
    value, message = detail["input"], detail["msg"]
    if detail["type"] == "refusal":
        place += detail["ctx"]["key"].split(".")
        value = detail["ctx"]["value"]
    message = message[0].lower() + message[1:].replace("Input should be", "expected")
    return f"{'.'.join(place)}: {_show(value)} is not accepted: {message.replace('input should be', 'expected')}"


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


def _show(value: Any) -> str:
    text = _BRIEF.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def main() -> int:
    """Check the file that is the first argument, or params.yaml."""
    try:
        load(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
