"""The blocks of params.yaml about the mixture of Gaussians."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from stages.config import yaml_file
from stages.config.base import Block, Described, Pair, limited, refusal
from stages.config.field_types import Count, Positive
from stages.config.messages import check
from stages.core.errors import InvalidParams
from stages.core.paths import MIXTURES, PARAMS

SINGLE = 2.0**-23
"""The relative step between single-precision numbers, in which the methods see the points."""


class MogEncoder(Described):
    """An encoder of points."""

    width: Count
    """Hidden units."""
    depth: Count
    """Hidden layers."""
    dim: Annotated[int, Field(ge=2)]
    """Embedding dimension D."""


class MogMlp(Described):
    """A multilayer perceptron on points."""

    width: Count
    """Hidden units."""
    depth: Count
    """Hidden layers."""


class MogView(Described):
    """A second view of a point; without noise there would be no density of it."""

    noise: Positive
    """Standard deviation of the noise, in units of x."""


class Box(Described):
    """The part of the plane that is looked at."""

    x: Pair
    """Left and right end."""
    y: Pair
    """Lower and upper end."""

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        for axis in ("x", "y"):
            low, high = getattr(self, axis)
            if low >= high:
                raise refusal(axis, [low, high], "the lower end before the upper end")
        return self


class MixtureParams(Described):
    """A mixture of Gaussians in the plane and the box it is looked at in."""

    means: Annotated[list[Pair], Field(min_length=1)]
    """Of each mode."""
    covariances: list[Annotated[list[Pair], Field(min_length=2, max_length=2)]]
    """Of each mode, symmetric, positive definite and so wide that single precision tells points of the mode apart."""
    weights: list[Positive]
    """Of each mode, with sum 1."""
    box: Box

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
            if math.sqrt((a * d - b * c) / largest) < SINGLE * farthest:
                width, why = f"{SINGLE * farthest:.2g}", f"since {where} reaches as far as {farthest:.2g}"
                raise refusal(f"covariances.{index}", [[a, b], [c, d]], f"a mode at least {width} wide everywhere, {why}")
        return self

    def _farthest(self) -> tuple[float, str]:
        """The largest coordinate and the key that it stands under."""
        coordinates = {"box.x": self.box.x, "box.y": self.box.y, "means": [one for mean in self.means for one in mean]}
        return max((max(map(abs, values)), key) for key, values in coordinates.items())


class Collapse(Block):
    """Below which of two figures an embedding counts as collapsed."""

    variance_ratio: Positive
    normalised_std: Positive


class MogEvaluation(Block):
    """How methods on the mixture are measured."""

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
    """The mixture of Gaussians: its points, the grid, and how methods are measured on it."""

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
        limited(self, limits, "points")
        return self


class Langevin(Block):
    """How a score method is made to sample."""

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
        InvalidParams: with one line that names the key, the value and what is accepted.
    """
    return {name: check(path, MixtureParams, raw, name) for name, raw in yaml_file.read(path).items()}


def chosen(mog: Mog, path: Path = MIXTURES) -> MixtureParams:
    """The mixture that `mog.preset` names.

    Raises:
        InvalidParams: there is none, or mixtures.yaml has a mistake.
    """
    mixtures = load(path)
    if mog.preset not in mixtures:
        expected = f"expected one of {', '.join(mixtures)}, as in {path}"
        raise InvalidParams(f"{PARAMS}: mog.preset: {mog.preset!r} is not accepted: {expected}")
    return mixtures[mog.preset]
