"""The schema of a method's params block: the signature of its class, read from the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, create_model

from stages.config import field_types
from stages.config.base import MNIST_PREFIX, Block, Train
from stages.config.messages import show
from stages.config.schema import IMAGES, POINTS
from stages.core.errors import InvalidParams
from stages.core.paths import ROOT

METHODS = ROOT / "stages/methods"
NOT_FOR_PARAMS = {"Annotated", "Any", "Field"}
"""Names in field_types.py that are not types of params."""


def listed_methods(path: Path, raw: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The methods whose blocks are checked, on the mixture and on the images: all that are listed or have a block.

    Files of methods that are neither may be unfinished, and are not read unless an unknown name asks for what there is.

    Raises:
        InvalidParams: a list or a name in it is not accepted, or a method is not written as one.
    """
    images = raw.get("mnist")
    lists = {"methods": raw.get("methods"), "mnist.methods": images.get("methods") if isinstance(images, dict) else None}
    # An editor's own files, such as `.#dsm.py`, are no modules.
    known = sorted(file.stem for file in METHODS.glob("[!_]*.py") if file.stem.isidentifier())
    for key, names in lists.items():
        world = IMAGES if "." in key else POINTS
        if names is None:
            raise InvalidParams(f"{path}: {key}: this key is missing")
        if not isinstance(names, list) or not names:
            raise InvalidParams(f"{path}: {key}: {show(names)} is not accepted: expected a list of methods")
        for name in names:
            if name not in known or not _fits(name, world):
                fit = ", ".join(other for other in known if _can_be_read(other, world))
                raise InvalidParams(f"{path}: {key}: {show(name)} is not accepted: expected any of {fit}")
        if len(set(names)) < len(names):
            raise InvalidParams(f"{path}: {key}: {show(names)} is not accepted: expected each method once")
    listed = [set(names or []) for names in lists.values()]
    present = {name for name in known if name in raw}, {name for name in known if MNIST_PREFIX + name in raw}
    on_points, on_images = (sorted(a | b) for a, b in zip(listed, present, strict=True))
    return on_points, on_images


def _fits(name: str, world: dict[str, type[Block]]) -> bool:
    """Whether a world has all that a method needs of what depends on the world."""
    used = {node.id for one in _signature(name).values() for node in ast.walk(one) if isinstance(node, ast.Name)}
    return POINTS.keys() & used <= world.keys()


def _can_be_read(name: str, world: dict[str, type[Block]]) -> bool:
    try:
        block_of(name, world)
    except InvalidParams:
        return False
    return _fits(name, world)


def _signature(name: str) -> dict[str, ast.expr]:
    """The keyword arguments of a method's class with their annotations.

    Raises:
        InvalidParams: it is not written as a method is; the message has the file and the line.
    """
    try:
        source = (METHODS / f"{name}.py").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _mistake(name, line, "the file is not UTF-8") from None
    except OSError as error:
        raise _mistake(name, 1, str(error.strerror)) from None
    return _signature_in(source, name)


@cache
def _signature_in(source: str, name: str) -> dict[str, ast.expr]:
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise _mistake(name, error.lineno or 1, error.msg) from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise _mistake(name, 1, str(error) or "nested too deeply for Python") from None
    init = _init(_method_class(tree, name), name)
    arguments = init.args
    for other in (*arguments.posonlyargs[2:], *arguments.args[2:], arguments.vararg, arguments.kwarg):
        if other:
            raise _mistake(name, other.lineno, f"{other.arg} has to stand behind `*`: keyword arguments are the params")
    for argument in arguments.kwonlyargs:
        if argument.annotation is None:
            raise _mistake(name, argument.lineno, f"{argument.arg} has no annotation: it says what params.yaml may hold")
        if argument.arg == "train" or argument.arg.startswith(("_", "model_")) or hasattr(Block, argument.arg):
            raise _mistake(name, argument.lineno, f"{argument.arg} is reserved: give the argument another name")
    return {argument.arg: argument.annotation for argument in arguments.kwonlyargs if argument.annotation}


def _method_class(tree: ast.Module, name: str) -> ast.ClassDef:
    """The one class of a file that is a method."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    methods = [one for one in classes if "Method" in map(ast.unparse, one.bases)]
    if not methods:
        line = classes[0].lineno if classes else 1
        raise _mistake(name, line, "expected a class whose base is Method of stages.nn.method")
    derived = [one for one in classes if {other.name for other in methods} & set(map(ast.unparse, one.bases))]
    for other in (*methods[1:], *derived):
        raise _mistake(name, other.lineno, f"expected one method in a file, and {methods[0].name} is one already")
    return methods[0]


def _init(method: ast.ClassDef, name: str) -> ast.FunctionDef:
    found = [node for node in method.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    if not found:
        raise _mistake(name, method.lineno, f"{method.name} has no __init__, whose keyword arguments are the method's params")
    return found[-1]


def _mistake(name: str, line: int, what: str) -> InvalidParams:
    return InvalidParams(f"{(METHODS / f'{name}.py').relative_to(METHODS.parents[1])}:{line}: {what}")


def block_of(name: str, world: dict[str, type[Block]]) -> type[Block]:
    """The model of a method's params block, from the signature of its class and the words of the world.

    Raises:
        InvalidParams: an annotation is none that says what params.yaml may hold.
    """
    words = {**{word: value for word, value in vars(field_types).items() if not word.startswith("_")}, **world}
    fields: dict[str, Any] = {key: (_type(annotation, words, name), ...) for key, annotation in _signature(name).items()}
    return create_model(name, __base__=Block, train=(Train, ...), **fields)


def _type(annotation: ast.expr, words: dict[str, Any], name: str) -> Any:
    """The type that an annotation in our own source stands for."""
    text = ast.unparse(annotation)
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id not in words:
            known = ", ".join(sorted(word for word in words if word[:1].isupper() and word not in NOT_FOR_PARAMS))
            raise _mistake(name, node.lineno, f"{text}: {node.id} is no type of a param: expected one of {known}")
    try:
        found = eval(text, {"__builtins__": {}}, words)  # noqa: S307
        TypeAdapter(found)
    except Exception as error:  # whatever Python and pydantic make of an annotation
        raise _mistake(name, annotation.lineno, f"{text} is no type of a param: {' '.join(str(error).split())[:200]}") from None
    return found
