"""A method by its name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stages.nn.method import Method, World

METHODS = "stages.methods"


def build(name: str, world: World, settings: dict[str, Any]) -> Method:
    """The method called `name`, in that world, with its params block (without `train`) as keyword arguments."""
    module = import_module(f"{METHODS}.{name}")
    (kind,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    )
    return kind(world, **settings)
