"""Models of claims.yaml."""

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

    The value is `metric` of the method, minus its metric `against` if given. With `study`, it is `metric` in the cell `cell` of
    the study, minus that in `against_cell`, and `relative` divides the difference by the latter. `statistic` selects the values
    of the seeds or their standard deviation. The criterion is met if the value is `below` or `above` the threshold, unless the
    metric `unless` is true. It applies only to methods whose metrics in `needs` exceed the given values.
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
            raise refusal("study", self.study, "both study and cell, or neither")
        if self.against_cell and not self.study:
            raise refusal("against_cell", self.against_cell, "a study")
        if self.against_cell and self.against:
            raise refusal("against_cell", self.against_cell, "either against or against_cell")
        if self.relative and not (self.against or self.against_cell):
            raise refusal("relative", self.relative, "against or against_cell")
        return self


class Claim(Described):
    """A claim about methods, and the criteria that decide it."""

    statement: str
    """The claim, as a predicate of the method."""
    decided_by: Annotated[list[Criterion], Field(min_length=1)]
    """Criteria in order of precedence; the first one whose metric the method has decides."""
    turns_in: list[str] = Field(default_factory=list)
    """Studies whose settings change the verdict."""


class Paper(Described):
    """A publication."""

    cite: str
    """Authors and year, as cited in the text."""
    title: str
    """The title."""
    url: Annotated[str, Field(pattern=r'^https://[^\s"()<>|]+$')]
    """Where it can be read."""


class Claims(Described):
    """The claims of the literature about the methods on the mixture, and the criteria that decide them.

    `expected` has, for each method and claim, whether the literature claims that the criterion is met. `expected_label` has
    the literature's answer if it is neither yes nor no. `sources` has the paper that makes the claim; its key `default` serves
    all claims with `true` that it does not list, since a paper rarely says what its method does not do. A claim with the source
    `null` has no paper: it is an expectation.
    """

    criteria: dict[str, Claim]
    expected: dict[str, dict[str, bool]]
    """true: the literature claims it of the method; false: it claims the opposite."""
    expected_label: dict[str, dict[str, str]]
    """The literature's answer if it is neither yes nor no."""
    sources: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    """The paper behind each claim, a key of `papers`; `default` for all others that are true of the method; null for none."""
    papers: dict[str, Paper] = Field(default_factory=dict)
    """The papers."""

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
        for method, sources in self.sources.items():
            for claim, paper in sources.items():
                accepted = ("default", *self.expected.get(method, {}))
                if claim not in accepted:
                    raise refusal(f"sources.{method}.{claim}", claim, "any of " + ", ".join(accepted))
                if paper is not None and paper not in self.papers:
                    raise refusal(f"sources.{method}.{claim}", paper, "any of papers: " + ", ".join(self.papers))
        return self

    def paper(self, method: str, claim: str) -> Paper | None:
        """The paper that makes a claim about a method; None if there is none."""
        sources = self.sources.get(method, {})
        default = sources.get("default") if self.expected[method][claim] else None
        key = sources.get(claim, default)
        return self.papers[key] if key else None


def load(path: Path = CLAIMS) -> Claims:
    """Read and validate claims.yaml.

    Raises:
        InvalidParams: the file is not accepted; the message names the key, the value and the accepted values.
    """
    return check(path, Claims, yaml_file.read(path))
