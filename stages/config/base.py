"""What the blocks of params.yaml, claims.yaml and studies.yaml have in common."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from stages.config.field_types import Count, NonNegative, Positive

MNIST_PREFIX = "mnist_"
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Names = Annotated[list[str], Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def refusal(key: str, value: Any, expected: str) -> PydanticCustomError:
    """The error for a value that is valid by itself and not together with others; `key` is relative to the block."""
    return PydanticCustomError("refusal", "expected {expected}", {"key": key, "value": value, "expected": expected})


def limited(block: Block, limits: dict[str, int], what: str) -> None:
    """Refuse a number of the block that is above its limit."""
    for key, limit in limits.items():
        value = attrgetter(key)(block)
        if value > limit:
            raise refusal(key, value, f"at most {limit} with the {what} there are")


class Block(BaseModel):
    """A part of params.yaml: no unknown key, no conversion between types, no infinity, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Described(Block):
    """A block whose keys are explained here, for docs/params.md and editors; those of others are in params.yaml."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Train(Described):
    """How a method is trained."""

    steps: Count
    """Optimizer steps."""
    batch_size: Annotated[int, Field(ge=2)]
    """Points or images of a step; of the mixture for each seed."""
    learning_rate: Positive
    """Of AdamW."""
    weight_decay: NonNegative
    """Of AdamW, decoupled."""
    schedule: Literal["constant", "cosine"]
    """Of the learning rate; cosine: half a cosine down to 0."""
    warmup: Annotated[int, Field(ge=0)]
    """Steps of linear rise before that."""
