"""Model of the block of params.yaml about score-based methods on images."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from stages.config.base import Block, Described, Names, Train, refusal
from stages.config.field_types import Count, Positive


class PixelNetwork(Described):
    """Sizes of the U-Net of a score-based method."""

    patch: Annotated[int, Field(ge=1, le=7)]
    """Side of the squares of pixels that are folded into channels first."""
    channels: Annotated[list[Count], Field(min_length=1, max_length=4)]
    """Channels of the levels, each of half the height and width of the one before."""


class PixelLangevin(Described):
    """Langevin dynamics of the methods without a flow."""

    steps: Count
    """Steps in all, divided evenly among the noise levels."""
    step_ratio: Positive
    """Step size at noise level σ, in units of σ²."""


MethodSettings = Annotated[dict[str, Any], Field(description="The method's params, as in its own block, without `network`.")]
"""Settings of one method; stages/pixels/networks/build.py validates them."""


class Pixels(Block):
    """Score-based methods on images: the two data sets, the network, the training, the samples."""

    methods: Names
    modes: Count
    components: Count
    fitted_images: Annotated[int, Field(ge=100)]
    train_points: Annotated[int, Field(ge=100)]
    test_points: Annotated[int, Field(ge=10)]
    likelihood_points: Annotated[int, Field(ge=2)]
    samples: Annotated[int, Field(ge=10)]
    frames: Annotated[int, Field(ge=2)]
    langevin: PixelLangevin
    network: PixelNetwork
    train: Train
    settings: dict[str, MethodSettings]

    @model_validator(mode="after")
    def _consistent(self) -> Pixels:
        for name in self.methods:
            if name not in self.settings:
                raise refusal("methods", name, "any of pixels.settings: " + ", ".join(self.settings))
        if self.train.batch_size > self.train_points:
            raise refusal("train.batch_size", self.train.batch_size, f"at most {self.train_points}, pixels.train_points")
        return self
