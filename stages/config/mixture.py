"""Models of the blocks of params.yaml about the mixture of Gaussians, and of mixtures.yaml."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from stages.config import yaml_file
from stages.config.base import Block, Described, Pair, check_limits, refusal
from stages.config.field_types import Count, Positive
from stages.config.messages import check
from stages.core.errors import InvalidParams
from stages.core.paths import MIXTURES, PARAMS

SINGLE_EPSILON = 2.0**-23
"""Machine epsilon of single precision, the precision of the points."""


class MogEncoder(Described):
    """Layer sizes of an encoder of points."""

    width: Count
    """Hidden units."""
    depth: Count
    """Hidden layers."""
    dim: Annotated[int, Field(ge=2)]
    """Embedding dimension D."""


class MogMlp(Described):
    """Layer sizes of a multilayer perceptron on points."""

    width: Count
    """Hidden units."""
    depth: Count
    """Hidden layers."""


class MogView(Described):
    """Augmentation of a view of a point: normal noise, without which the view would have no density."""

    noise: Positive
    """Standard deviation of the noise, in units of x."""


class Box(Described):
    """The part of the plane on which fields are evaluated."""

    x: Pair
    """Left and right end of the box."""
    y: Pair
    """Lower and upper end of the box."""

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        for axis in ("x", "y"):
            low, high = getattr(self, axis)
            if low >= high:
                raise refusal(axis, [low, high], "the lower end before the upper end")
        return self


class MixtureParams(Described):
    """A mixture of Gaussians in the plane, optionally with extra coordinates, and the box on which fields are evaluated."""

    means: Annotated[list[Pair], Field(min_length=1)]
    """Means of the modes."""
    covariances: list[Annotated[list[Pair], Field(min_length=2, max_length=2)]]
    """Covariances of the modes: symmetric, positive definite, and wide enough for single precision to resolve a mode."""
    weights: list[Positive]
    """Mode weights, with sum 1."""
    box: Box
    noise_coordinates: Annotated[int, Field(ge=0, le=62)] = 0
    """Coordinates of a point besides those of the plane, standard normal and independent; for studies only."""

    @model_validator(mode="after")
    def _fits(self) -> MixtureParams:
        for name in ("covariances", "weights"):
            if len(getattr(self, name)) != len(self.means):
                raise refusal(name, getattr(self, name), f"one entry for each of the {len(self.means)} means")
        if not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise refusal("weights", self.weights, f"numbers with sum 1, not {sum(self.weights):.6g}")
        farthest, where = self._farthest()
        for index, ((a, b), (c, d)) in enumerate(self.covariances):
            if b != c or a <= 0 or a * d - b * c <= 1e-12 * a * d:
                raise refusal(f"covariances.{index}", [[a, b], [c, d]], "a symmetric, positive definite matrix")
            largest = (a + d) / 2 + math.hypot((a - d) / 2, b)
            if math.sqrt((a * d - b * c) / largest) < SINGLE_EPSILON * farthest:
                expected = f"a standard deviation of at least {SINGLE_EPSILON * farthest:.2g} in every direction"
                why = f"since {where} extends to {farthest:.2g}"
                raise refusal(f"covariances.{index}", [[a, b], [c, d]], f"{expected}, {why}")
        return self

    def _farthest(self) -> tuple[float, str]:
        """The largest absolute coordinate and its key."""
        coordinates = {"box.x": self.box.x, "box.y": self.box.y, "means": [one for mean in self.means for one in mean]}
        return max((max(map(abs, values)), key) for key, values in coordinates.items())


class Collapse(Block):
    """Thresholds of collapse: an embedding has collapsed if either metric is below its threshold."""

    variance_ratio: Positive
    normalised_std: Positive


class MogEvaluation(Block):
    """How methods on the mixture are evaluated."""

    grid: Annotated[int, Field(ge=10)]
    reference: Pair
    walk_points: Annotated[int, Field(ge=2)]
    structure_points: Annotated[int, Field(ge=30)]
    score_points: Count
    denoising_draws: Count
    view_noise: Positive
    neighbours: Count
    readout_neighbours: Count


class Mog(Block):
    """The mixture of Gaussians: data, snapshots of trainings, and evaluation."""

    preset: str
    train_points: Annotated[int, Field(ge=2)]
    test_points: Annotated[int, Field(ge=10)]
    snapshots: Annotated[int, Field(ge=2)]
    heldout_rounds: Count
    evaluation: MogEvaluation

    @model_validator(mode="after")
    def _consistent(self) -> Mog:
        limits = {
            "evaluation.structure_points": self.test_points,
            "evaluation.neighbours": min(self.train_points, (self.evaluation.structure_points - 1) // 2),
            "evaluation.readout_neighbours": self.train_points,
        }
        check_limits(self, limits, "points")
        return self


class Langevin(Block):
    """Unadjusted Langevin dynamics of score-based methods."""

    particles: Annotated[int, Field(ge=2)]
    steps: Count
    step_size: Positive
    frames: Annotated[int, Field(ge=2)]


class Annealed(Block):
    """Annealed Langevin dynamics of methods with a noise schedule."""

    particles: Annotated[int, Field(ge=2)]
    steps: Count
    step_ratio: Positive
    frames: Annotated[int, Field(ge=2)]


def load(path: Path = MIXTURES) -> dict[str, MixtureParams]:
    """Read and validate all mixtures of mixtures.yaml.

    Raises:
        InvalidParams: the file is not accepted; the message names the key, the value and the accepted values.
    """
    return {name: check(path, MixtureParams, raw, name) for name, raw in yaml_file.read(path).items()}


def chosen(mog: Mog, path: Path = MIXTURES) -> MixtureParams:
    """The mixture that `mog.preset` names.

    Raises:
        InvalidParams: there is no such mixture, or mixtures.yaml is not accepted.
    """
    mixtures = load(path)
    if mog.preset not in mixtures:
        expected = f"expected one of {', '.join(mixtures)}, as in {path}"
        raise InvalidParams(f"{PARAMS}: mog.preset: {mog.preset!r} is not accepted: {expected}")
    return mixtures[mog.preset]
