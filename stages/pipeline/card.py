"""Model cards: the params that a model was trained with, as JSON beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.config.base import Block, Seed, Train
from stages.config.field_types import Count
from stages.config.messages import check
from stages.pipeline import files


class Card(Block):
    """The params that build a method's networks and reproduce its training."""

    seed: Seed
    """Base seed of all random streams."""
    seeds: Count
    """The number of independent copies S, the leading dimension of every parameter tensor."""
    settings: dict[str, Any]
    """Keyword arguments of the method's class."""
    train: Train
    """Params of the training loop."""


def write(path: Path, card: Card) -> None:
    """Write a model card."""
    files.write_json(path, card.model_dump())


def read(path: Path) -> Card:
    """Read a model card.

    Raises:
        UserError: the file is missing, damaged or not a valid card.
    """
    return check(path, Card, files.read_json(path))
