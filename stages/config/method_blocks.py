"""The schema of a method's params block: the signature of its class, read from the source."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import create_model

from stages.config import field_types
from stages.config.base import MNIST_PREFIX, Block, Train
from stages.config.messages import show
from stages.config.schema import IMAGES, POINTS
from stages.core.errors import InvalidParams
from stages.core.paths import ROOT

METHODS = ROOT / "stages/methods"


def listed_methods(path: Path, raw: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The methods whose blocks are checked, on the mixture and on the images: all that are listed or have a block."""
    images = raw.get("mnist")
    lists = {"methods": raw.get("methods"), "mnist.methods": images.get("methods") if isinstance(images, dict) else None}
    known = sorted(file.stem for file in METHODS.glob("[!_]*.py"))
    for key, names in lists.items():
        if names is None:
            raise InvalidParams(f"{path}: {key}: this key is missing")
        if not isinstance(names, list) or not names:
            raise InvalidParams(f"{path}: {key}: {show(names)} is not accepted: expected a list of methods")
        fit = [name for name in known if set(POINTS) & _words(name) <= set(IMAGES if "." in key else POINTS)]
        for name in names:
            if name not in fit:
                raise InvalidParams(f"{path}: {key}: {show(name)} is not accepted: expected any of {', '.join(fit)}")
        if len(set(names)) < len(names):
            raise InvalidParams(f"{path}: {key}: {show(names)} is not accepted: expected each method once")
    listed = [set(names or []) for names in lists.values()]
    present = {name for name in known if name in raw}, {name for name in known if MNIST_PREFIX + name in raw}
    on_points, on_images = (sorted(a | b) for a, b in zip(listed, present, strict=True))
    return on_points, on_images


def _signature(name: str) -> dict[str, ast.expr]:
    """The keyword arguments of a method's class with their annotations."""
    return _signature_in((METHODS / f"{name}.py").read_text(encoding="utf-8"), name)


@cache
def _signature_in(source: str, name: str) -> dict[str, ast.expr]:
    tree = ast.parse(source)
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


def block_of(name: str, world: dict[str, type[Block]]) -> type[Block]:
    """The model of a method's params block, from the signature of its class and the words of the world."""
    words = {**vars(field_types), **world}
    fields: dict[str, Any] = {key: (_type(annotation, words), ...) for key, annotation in _signature(name).items()}
    return create_model(name, __base__=Block, train=(Train, ...), **fields)


def _type(annotation: ast.expr, words: dict[str, Any]) -> Any:
    """The type that an annotation in our own source stands for."""
    return eval(ast.unparse(annotation), {"__builtins__": {}}, words)  # noqa: S307
