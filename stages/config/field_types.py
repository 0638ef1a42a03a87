"""Types for the constructor arguments of methods; pydantic reads them to validate the params block of a method.

A method may use any type that pydantic can validate. `Encoder`, `Mlp` and `View` stand for blocks that each domain defines:
`stages.config.schema` holds their models.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
"""A whole number from 1."""

Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""

NonNegative = Annotated[float, Field(ge=0)]
"""A number from 0."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

Flag = bool
"""true or false."""


@dataclass(frozen=True)
class OfDomain:
    """Annotation of a block that the domain defines; a domain without such a block cannot train the method."""

    block: str


Encoder = Annotated[dict[str, Any], OfDomain("Encoder")]
"""Sizes of an encoder."""

MaskedEncoder = Annotated[dict[str, Any], OfDomain("MaskedEncoder")]
"""Sizes of an encoder of points of which coordinates may be masked."""

Mlp = Annotated[dict[str, Any], OfDomain("Mlp")]
"""Sizes of a multilayer perceptron on points."""

View = Annotated[dict[str, Any], OfDomain("View")]
"""Augmentation that makes a second view."""
