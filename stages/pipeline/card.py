"""Model cards: the params that a model was trained with, as JSON beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.config.base import Block, Seed, Train
from stages.config.field_types import Count
from stages.config.messages import check
from stages.pipeline import files


class Card(Block):
    """What it takes to build a method's networks and to train them again."""

    seed: Seed
    """Base of the random streams."""
    seeds: Count
    """Independent copies, the leading dimension S of every parameter."""
    settings: dict[str, Any]
    """Keyword arguments of the method's class."""
    train: Train


def write(path: Path, card: Card) -> None:
    """Write the card of a model."""
    files.write_json(path, card.model_dump())


def read(path: Path) -> Card:
    """The card of a model.

    Raises:
        UserError: there is none, or it is damaged.
    """
    return check(path, Card, files.read_json(path))
