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
    """A threshold on a metric that decides a claim.

    The metric is `metric`, minus `against` if that is given. It is the method's own, or that of one cell of a study, minus that
    of the cell `against_cell`; `relative` divides the difference by the latter. `statistic` selects the values of the seeds or
    their standard deviation. The criterion applies to methods whose metrics in `needs` are above the given values. If the
    metric `unless` is true, the criterion is not met.
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
    def _one_threshold(self) -> Criterion:
        if (self.below is None) == (self.above is None):
            raise refusal("below", self.below, "either below or above")
        if bool(self.study) != bool(self.cell):
            raise refusal("study", self.study, "the name of a study where there is a cell, and none where there is none")
        return self


class Claim(Described):
    """A claim about methods and the criteria that decide it, of which the first applies whose metric a method has."""

    statement: str
    """The claim, as a predicate of the method."""
    decided_by: Annotated[list[Criterion], Field(min_length=1)]
    """Criteria in order of precedence; the first applies whose metric the method has."""


class Claims(Described):
    """The claims of the literature about the methods on the mixture, and the criteria that decide them.

    `expected`: for each method, whether the literature claims that the criterion of a claim is met; `expected_label`: its
    answer where it is neither yes nor no.
    """

    criteria: dict[str, Claim]
    expected: dict[str, dict[str, bool]]
    """Whether the literature claims it of the method."""
    expected_label: dict[str, dict[str, str]]
    """The literature's answer where it is neither yes nor no."""

    @model_validator(mode="after")
    def _known(self) -> Claims:
        for method, claims in self.expected.items():
            for claim in claims:
                if claim not in self.criteria:
                    raise refusal(f"expected.{method}.{claim}", claim, "any of criteria: " + ", ".join(self.criteria))
        for method, labels in self.expected_label.items():
            for claim in labels:
                claims = self.expected.get(method, {})
                if claim not in claims:
                    key = f"expected_label.{method}.{claim}"
                    raise refusal(key, claim, f"any of expected.{method}: " + ", ".join(claims))
        return self


def load(path: Path = CLAIMS) -> Claims:
    """Read and validate claims.yaml.

    Raises:
        InvalidParams: the file is not accepted; the message names the key, the value and what is accepted.
    """
    return check(path, Claims, yaml_file.read(path))
