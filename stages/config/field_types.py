"""The words with which the signature of a method says what a key of its params block accepts.

That signature IS the schema of the block: `params.py` reads it from the source and checks params.yaml against it without
importing the method, and so without importing torch.
"""

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

# The keys of these depend on the world; params.py has them. A word that a world lacks keeps the method out of that world.
Encoder = dict[str, Any]
"""The sizes of an encoder."""

MaskedEncoder = dict[str, Any]
"""The sizes of an encoder of points of which coordinates may be masked."""

Mlp = dict[str, Any]
"""The sizes of a multilayer perceptron on points."""

View = dict[str, Any]
"""How a second view is made."""
