"""The schema of claims.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stages.config import yaml_file
from stages.config.base import Block, Described, refusal
from stages.config.messages import check
from stages.core.paths import CLAIMS


class Criterion(Block):
    """How a measured figure decides a claim: it has to lie below or above a bound.

    The figure is `metric`, less `against` where that is given. It is the method's own, or that of one cell of a study; there
    `against_cell` gives the settings of the cell whose figure is subtracted. `relative` divides the difference by what was
    subtracted. `statistic` says whether each seed's value counts or how much the seeds differ. The criterion is for methods
    whose figures in `needs` lie above these bounds. Where the metric `unless` is true it is not met, whatever the figure.
    """

    metric: str
    against: str | None = None
    study: str | None = None
    cell: dict[str, Any] = Field(default_factory=dict)
    against_cell: dict[str, Any] = Field(default_factory=dict)
    relative: bool = False
    needs: dict[str, float] = Field(default_factory=dict)
    statistic: Literal["values", "std"] = "values"
    unless: str | None = None
    below: float | None = None
    above: float | None = None
    figure: str
    reason: str

    @model_validator(mode="after")
    def _one_bound(self) -> Criterion:
        if (self.below is None) == (self.above is None):
            raise refusal("below", self.below, "either below or above")
        if bool(self.study) != bool(self.cell):
            raise refusal("study", self.study, "the name of a study where there is a cell, and none where there is none")
        return self


class Claim(Described):
    """What can be said of a method, in words, and what decides it: the first criterion whose figure there is."""

    statement: str
    """What is said, in words."""
    decided_by: Annotated[list[Criterion], Field(min_length=1)]
    """Criteria, of which the first one counts whose figure the method has."""


class Claims(Described):
    """What is said of the methods on the mixture, and which figures decide it.

    `stated`: of which method it is said that the criterion of which claim is met; `words`: where that is not said by yes or no.
    """

    criteria: dict[str, Claim]
    stated: dict[str, dict[str, bool]]
    """Whether it is said of the method that the claim is met."""
    words: dict[str, dict[str, str]]
    """How that is said where it is not by yes or no."""

    @model_validator(mode="after")
    def _known(self) -> Claims:
        for method, claims in self.stated.items():
            for claim in claims:
                if claim not in self.criteria:
                    raise refusal(f"stated.{method}.{claim}", claim, "any of criteria: " + ", ".join(self.criteria))
        for method, words in self.words.items():
            for claim in words:
                stated = self.stated.get(method, {})
                if claim not in stated:
                    raise refusal(f"words.{method}.{claim}", claim, f"any of stated.{method}: " + ", ".join(stated))
        return self


def load(path: Path = CLAIMS) -> Claims:
    """Read and validate claims.yaml.

    Raises:
        InvalidParams: with one line that names the key, the value and what is accepted.
    """
    return check(path, Claims, yaml_file.read(path))
