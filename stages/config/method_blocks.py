"""Find the top-level blocks of params.yaml that belong to methods; `stages.nn.build` validates their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.config.base import MNIST_PREFIX
from stages.config.messages import show
from stages.core.errors import InvalidParams
from stages.core.paths import ROOT

METHODS = ROOT / "stages/methods"
"""Folder of the methods, one file each."""


def method_blocks(path: Path, raw: dict[str, Any]) -> list[str]:
    """Names of the params blocks of all methods that params.yaml lists or has a block for.

    A block is called METHOD on the mixture and mnist_METHOD on the images.

    Raises:
        InvalidParams: a list of methods is missing or not accepted.
    """
    images = raw.get("mnist")
    lists = {
        "methods": ("", raw.get("methods")),
        "mnist.methods": (MNIST_PREFIX, images.get("methods") if isinstance(images, dict) else None),
    }
    # Editors leave files such as `.#dsm.py`, which are not modules.
    known = sorted(file.stem for file in METHODS.glob("[!_]*.py") if file.stem.isidentifier())
    blocks: list[str] = []
    for key, (prefix, names) in lists.items():
        present = [name for name in known if prefix + name in raw]
        listed = _checked(path, key, names, known, present)
        for name in listed:
            if name not in present:
                raise InvalidParams(f"{path}: {prefix}{name}: this key is missing, but {key} lists {name}")
        blocks += [prefix + name for name in present]
    return blocks


def _checked(path: Path, key: str, names: Any, known: list[str], present: list[str]) -> list[str]:
    if names is None:
        raise InvalidParams(f"{path}: {key}: this key is missing")
    if not isinstance(names, list) or not names:
        raise InvalidParams(f"{path}: {key}: {show(names)} is not accepted: expected a list of methods")
    for name in names:
        if name not in known:
            raise InvalidParams(f"{path}: {key}: {show(name)} is not accepted: expected any of {', '.join(present or known)}")
    if len(set(names)) < len(names):
        raise InvalidParams(f"{path}: {key}: {show(names)} is not accepted: expected each method once")
    return names
