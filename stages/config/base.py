"""Base classes, types and errors shared by the models of the configuration files."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from stages.config.field_types import Count, NonNegative, Positive

MNIST_PREFIX = "mnist_"
"""Prefix of a method's name in the name of its params block on the images."""
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Two numbers: a point, an interval or a row of a matrix."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""Seed of a random number generator."""
Names = Annotated[list[str], Field(min_length=1)]
"""Names of methods."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a file, in hexadecimal."""


def refusal(key: str, value: Any, expected: str) -> PydanticCustomError:
    """The error for a value that is valid alone but not together with other values; `key` is relative to the block."""
    return PydanticCustomError("refusal", "expected {expected}", {"key": key, "value": value, "expected": expected})


def check_limits(block: Block, limits: dict[str, int], what: str) -> None:
    """Check that no value of a block exceeds its limit.

    Args:
        block: with the values.
        limits: dotted key in the block to the largest accepted value.
        what: the items, in the plural, whose number sets the limits.

    Raises:
        PydanticCustomError: a value is above its limit.
    """
    for key, limit in limits.items():
        value = attrgetter(key)(block)
        if value > limit:
            raise refusal(key, value, f"at most {limit}, given the number of {what}")


class Block(BaseModel):
    """Base of all models: refuses unknown keys, infinity and NaN, and does not convert between types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Described(Block):
    """A block whose fields have docstrings, for docs/params.md and editors; other blocks have comments in the YAML file."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Train(Described):
    """Settings of the training of a method."""

    steps: Count
    """Optimizer steps."""
    batch_size: Annotated[int, Field(ge=2)]
    """Images per step; on the mixture, points per step and seed."""
    learning_rate: Positive
    """Peak learning rate of AdamW."""
    weight_decay: NonNegative
    """Decoupled weight decay of AdamW."""
    schedule: Literal["constant", "cosine"]
    """Learning-rate schedule; cosine is half a cosine down to 0."""
    warmup: Annotated[int, Field(ge=0)]
    """Steps of linear warm-up before the schedule."""
