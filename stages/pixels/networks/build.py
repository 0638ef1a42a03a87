"""Score-based methods on images, built from params and model files."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import torch
from pydantic import create_model

from stages.config.base import Block
from stages.config.field_types import Mlp
from stages.config.messages import check
from stages.config.params import Params
from stages.core.errors import InvalidParams
from stages.nn.build import block_model, build, method_class
from stages.nn.method import HasScore
from stages.pipeline import files, seeding
from stages.pixels.networks.domain import Pixels
from stages.pixels.problem.paths import weights


def settings(params: Params, name: str) -> dict[str, Any]:
    """The constructor arguments of a method on images: its block in `pixels.settings`, validated, and the shared network.

    Raises:
        InvalidParams: the block is not that of the method, or the method is not score-based.
    """
    where = f"pixels.settings.{name}"
    if name not in params.pixels.settings:
        known = ", ".join(params.pixels.settings)
        raise InvalidParams(f"{params.path}: {where}: this key is missing; pixels.settings has {known}")
    block_model(name, images=False, path=params.path)  # the method's file is valid
    kind = method_class(name)
    hints = get_type_hints(kind.__init__, include_extras=True)
    arguments = [key for key, one in inspect.signature(kind.__init__).parameters.items() if one.kind is one.KEYWORD_ONLY]
    # Other losses need derivatives of the network, or points of a box.
    denoises = kind.denoises or hasattr(kind, "score_at")
    if not denoises or hints.get("network") != Mlp:
        raise InvalidParams(f"{params.path}: pixels.methods: {name!r} is not accepted: expected methods that denoise")
    fields: dict[str, Any] = {key: (hints[key], ...) for key in arguments if key != "network"}
    model = create_model(name, __base__=Block, **fields)
    checked = check(params.path, model, params.pixels.settings[name], place=where)
    return {**checked.model_dump(), "network": params.pixels.network.model_dump()}


def untrained(params: Params, name: str, shape: tuple[int, int, int]) -> HasScore:
    """The method called `name` before training, on images of a shape (C, H, W).

    Raises:
        InvalidParams: its network does not map images to images.
    """
    torch.manual_seed(seeding.stream(params, "pixels.init"))
    try:
        method: Any = build(name, Pixels(shape), settings(params, name))
    except TypeError as error:
        raise InvalidParams(f"{params.path}: pixels.methods: {name!r} is not accepted: {error}") from None
    return method


def trained(params: Params, name: str, data: str, shape: tuple[int, int, int]) -> Any:
    """The method called `name` after training on a data set, `mixture` or `images`, in evaluation mode."""
    method: Any = untrained(params, name, shape)
    files.load(method, weights(name, data))
    return method.eval()
