"""The studies of studies.yaml: their cells and runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from stages.config import yaml_file
from stages.config.base import MNIST_PREFIX, Block
from stages.core import paths
from stages.core.errors import UserError
from stages.pipeline import digests

FILE = Path("studies.yaml")
"""The declarations of the studies."""
REPORTS = paths.STUDIES
"""Folder of the published studies."""
MOST_PANELS = 3
"""Most metrics in the figure of a study."""
ALIKE = 0.1
"""Largest relative difference of two metrics that count as alike."""
Change = Literal["higher", "lower", "alike"]
"""How a metric differs from the pipeline's: by more than two standard errors, or not by more than `ALIKE` or these."""
Domain = Literal["mog", "mnist", "mnist_reconstruct", "pixels"]
"""Domain of a study: the mixture, phase 1 on the images, both phases, or score-based methods on images."""


class Condition(Block):
    """What a finding requires of the cells: a threshold for the mean of a metric, or its direction along a param.

    `methods` and `where`, params and their values, restrict it to some of the cells. `above` and `below` are thresholds, of the
    difference to the cell with the settings (and the method) in `against` if given; `rises_with` and `falls_with` name a param,
    and all else being equal the mean must change in that direction.
    """

    metric: str
    methods: list[str] = Field(default_factory=list)
    where: dict[str, Any] = Field(default_factory=dict)
    against: dict[str, Any] = Field(default_factory=dict)
    above: float | None = None
    below: float | None = None
    rises_with: str | None = None
    falls_with: str | None = None

    @model_validator(mode="after")
    def _requires_one_thing(self) -> Self:
        if sum(one is not None for one in (self.above, self.below, self.rises_with, self.falls_with)) != 1:
            raise ValueError("a condition needs one of above, below, rises_with and falls_with")
        if self.against and self.above is None and self.below is None:
            raise ValueError("`against` needs above or below")
        return self

    def check(self, study: Study) -> None:
        """Check that all methods, params and values occur in the study, since the condition could not be met otherwise.

        Raises:
            ValueError: one of them does not.
        """
        unknown = set(self.methods) | ({self.against["method"]} if "method" in self.against else set())
        if unknown - set(study.methods):
            raise ValueError(f"{', '.join(sorted(unknown - set(study.methods)))}: not among the methods of the study")
        values = {key.format(method=method): v for key, v in varied(study).items() for method in study.methods}
        for key, value in [*self.where.items(), *((k, v) for k, v in self.against.items() if k != "method")]:
            if not any(value in values.get(key.format(method=method), ()) for method in study.methods):
                raise ValueError(f"{key}={value}: no cell of the study has that")
        along = self.rises_with or self.falls_with
        for method in study.methods if along else ():
            steps = values.get(str(along).format(method=method), [])
            if len(steps) < 2 or any(steps.count(value) > 1 for value in steps):
                raise ValueError(f"{along}: the study does not vary it, or repeats a value")


class Case(Block):
    """One cell of a study that lists its cells: a method, params that differ from params.yaml, and the metrics to look at."""

    method: str
    settings: Annotated[dict[str, Any], Field(min_length=1)]
    shows: Annotated[dict[str, Change], Field(min_length=1)]
    """The metrics, and how they differ from the pipeline's."""
    why: str = ""
    """The reason, in a sentence."""


class Study(Block):
    """One study: its methods, the varied params and the reported metrics.

    Each combination of the values in `grid` is a cell; the lists in `together` are varied jointly, position by position.
    `settings` apply to all cells. With `runs`, each cell is run once per seed, and its metrics are over these runs. `{method}`
    in the name of a param is replaced by the method of the cell. `keep` names the reported metrics. A study can list its cells
    in `cases` instead, which also say their methods and metrics. With `claims`, the claims about the method of each cell are
    decided, on the domain `mog` only; `studies` maps a study that a claim names to the study that replaces it.

    `finding` says in a sentence what the study shows, and `shown_by` lists the conditions under which it is true. `panels`
    names the metrics of the figure, by default the first of `keep`; `labels` names the varied params in words.
    """

    domain: Domain = "mog"
    methods: Annotated[list[str], Field(min_length=1)]
    cases: list[Case] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    runs: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    together: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    keep: Annotated[list[str], Field(min_length=1)]
    panels: Annotated[list[str], Field(max_length=MOST_PANELS)] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    finding: str = ""
    shown_by: list[Condition] = Field(default_factory=list)
    claims: bool = False
    studies: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_cases(cls, raw: Any) -> Any:
        given = raw if isinstance(raw, dict) else {}
        if ("cases" in given) == ("methods" in given or "keep" in given):
            raise ValueError("a study needs either `cases`, or `methods` and `keep`")
        if "cases" not in given:
            return raw
        cases = [Case.model_validate(case) for case in given["cases"]]
        methods, keys = (dict.fromkeys(values) for values in ((c.method for c in cases), (k for c in cases for k in c.shows)))
        return {**given, "methods": list(methods), "keep": list(keys)}

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        if len({len(values) for values in self.together.values()}) > 1:
            raise ValueError("the lists of `together` must have equal lengths")
        return self

    @model_validator(mode="after")
    def _finding_can_be_wrong(self) -> Self:
        if bool(self.finding) != bool(self.shown_by):
            raise ValueError("a finding needs `shown_by`, conditions under which it is true, and conditions a finding")
        unknown = {c.metric for c in self.shown_by} | set(self.panels)
        if unknown - set(self.keep):
            raise ValueError(f"{', '.join(sorted(unknown - set(self.keep)))}: not among the metrics of `keep`")
        for condition in self.shown_by:
            condition.check(self)
        return self

    @property
    def images(self) -> bool:
        """Whether the study is on the images."""
        return self.domain != "mog"


def names() -> list[str]:
    """The names of all studies, in the order of the file.

    Raises:
        UserError: the file cannot be read.
    """
    return list(yaml_file.read(FILE))


def load(name: str, path: Path = FILE) -> Study:
    """The study of that name.

    Raises:
        UserError: there is no such study, or its declaration is invalid.
    """
    studies = yaml_file.read(path)
    if name not in studies:
        raise UserError(f"{name!r} is not a study of {path}: expected one of {', '.join(sorted(studies))}")
    try:
        return Study.model_validate(studies[name])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, (name, *first["loc"])))
        raise UserError(f"{path}: {place}: {first['msg'].removeprefix('Value error, ')}") from None


def cells(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each method with each combination of the varied params and the settings of all cells."""
    for case in study.cases:
        yield case.method, dict(case.settings)
    if study.cases:
        return
    steps = list(zip(*study.together.values(), strict=True)) or [()]
    for method in study.methods:
        names = [key.format(method=method) for key in (*study.grid, *study.together)]
        fixed = {key.format(method=method): value for key, value in study.settings.items()}
        for values in itertools.product(*study.grid.values(), steps):
            yield method, fixed | dict(zip(names, (*values[:-1], *values[-1]), strict=True))


@dataclass(frozen=True)
class Run:
    """One training and measurement: a cell of a study with one seed.

    Args:
        domain: see `Domain`.
        method: the method that is trained and evaluated.
        settings: values that replace those of params.yaml, by dotted name, including the seed if the study sets it.
    """

    domain: Domain
    method: str
    settings: dict[str, Any]

    @property
    def folder(self) -> str:
        """`mog`, `mnist` or `pixels`: the part of the pipeline that the run needs."""
        return "mnist" if self.domain == "mnist_reconstruct" else self.domain

    @property
    def key(self) -> str:
        """Digest that distinguishes the run from all other runs."""
        return digests.of_content([self.domain, self.method, self.settings])

    def __str__(self) -> str:
        return f"{self.method} with {self.settings}"


def runs(study: Study, method: str, settings: Mapping[str, Any]) -> list[Run]:
    """The runs of a cell: one for each of the study's seeds, or one with the seed of params.yaml."""
    wanted = [{**settings, "seed": seed} for seed in study.runs] or [dict(settings)]
    return [Run(study.domain, method, one) for one in wanted]


def all_runs(study: Study) -> list[Run]:
    """The runs of all cells."""
    return [run for method, settings in cells(study) for run in runs(study, method, settings)]


def with_settings(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of params.yaml with dotted keys set.

    Raises:
        UserError: there is no such key.
    """
    changed: dict[str, Any] = json.loads(json.dumps(raw))
    for key, value in settings.items():
        *groups, last = key.split(".")
        block = changed
        for group in groups:
            block = block.get(group, {})
        if last not in block:
            raise UserError(f"{FILE}: there is no param {key}")
        block[last] = value
    return changed


def block(study: Study, method: str) -> str:
    """The params block of a method in the study's domain, as a dotted key."""
    return {"mog": method, "pixels": f"pixels.settings.{method}"}.get(study.domain, MNIST_PREFIX + method)


def preset(study: Study, raw: Mapping[str, Any]) -> str:
    """The mixture of all cells; empty if cells differ in it."""
    found = presets(study) or [raw["mog"]["preset"]]
    return str(found[0]) if len(found) == 1 else ""


def presets(study: Study) -> list[Any]:
    """The mixtures that a study chooses; none if it leaves the pipeline's."""
    chosen = [study.settings["mog.preset"]] if "mog.preset" in study.settings else []
    return study.grid.get("mog.preset", chosen)


def varied(study: Study) -> dict[str, list[Any]]:
    """The varied params with their values."""
    return {**study.grid, **study.together}
