"""Types for the constructor arguments of methods, with which pydantic validates the params block of a method.

A method may use any type that pydantic can validate. `Encoder`, `MaskedEncoder`, `Mlp` and `View` are blocks whose models
the domain defines: `POINTS` and `IMAGES` in `stages.config.schema`.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
"""An integer of at least 1."""

Positive = Annotated[float, Field(gt=0)]
"""A number greater than 0."""

NonNegative = Annotated[float, Field(ge=0)]
"""A number of at least 0."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

Flag = bool
"""true or false."""


@dataclass(frozen=True)
class OfDomain:
    """Annotation of a block whose model the domain defines; a domain without that model cannot train the method."""

    block: str


Encoder = Annotated[dict[str, Any], OfDomain("Encoder")]
"""Layer sizes of an encoder."""

MaskedEncoder = Annotated[dict[str, Any], OfDomain("MaskedEncoder")]
"""Layer sizes of an encoder of points with masked coordinates."""

Mlp = Annotated[dict[str, Any], OfDomain("Mlp")]
"""Layer sizes of a multilayer perceptron on points."""

View = Annotated[dict[str, Any], OfDomain("View")]
"""Augmentation of a view."""
