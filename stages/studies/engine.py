"""What all places where a study may run have in common: which runs are missing, where they go, what is made of them.

A place takes the missing runs and gives back the metrics of each as it ends: here.py runs them in folders of their own on
this machine, experiments.py as DVC experiments, by the workers of DVC's queue or on a Ray cluster. Nothing else depends on
the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from stages.config import params as parameters
from stages.config import yaml_file
from stages.config.claims import load as load_claims
from stages.config.images import Mnist
from stages.core.errors import UserError
from stages.core.paths import MIXTURES
from stages.metrics.summary import over_seeds
from stages.pipeline import artifacts, files
from stages.pipeline.lookup import look_up
from stages.plots.canvas import write_png
from stages.results import tolerance
from stages.studies import grid
from stages.studies.grid import REPORTS, Run, Study
from stages.studies.identity import Decided, decided
from stages.studies.report import draw, markdown, with_verdicts
from stages.studies.store import Record, Store, here

Metrics = dict[str, Any]


class Result(NamedTuple):
    """What a place gives of a run.

    Args:
        run: which was run.
        metrics: what was measured.
        machine: the facts of the machine that made it; None for this one.
    """

    run: Run
    metrics: Metrics
    machine: Mapping[str, str] | None = None


Place = Callable[[Sequence[Run]], Iterator[Result]]
"""Runs them and yields each as it ends, in any order."""


@dataclass
class Project:
    """What of a project's settings decides the runs of its studies.

    Args:
        raw: the content of params.yaml.
        mixtures: the content of mixtures.yaml.
    """

    raw: dict[str, Any]
    mixtures: dict[str, Any]

    @classmethod
    def load(cls) -> Project:
        """That in whose folder this runs."""
        return cls(parameters.read(), yaml_file.read(MIXTURES))

    def decided(self, run: Run) -> Decided:
        """What decides the metrics of a run."""
        return decided(run, self.raw, self.mixtures)


def missing(study: Study, store: Store, project: Project) -> list[Run]:
    """The runs of a study that are not there, were made by something else than what would make them now, or lack a figure."""

    def there(run: Run) -> bool:
        record = store.current(run, project.decided(run).identity)
        lacks = record.get("lacks", ()) if record else ()
        return record is not None and not any(f"{name}.".startswith(f"{key}.") for name in lacks for key in study.keep)

    return [run for run in grid.all_runs(study) if not there(run)]


def turn(day: date) -> str:
    """The study whose turn it is on a day to be made again as a whole."""
    studies = grid.names()
    return studies[day.toordinal() % len(studies)]


def complete(name: str, place: Place, *, again: bool = False) -> None:
    """Run what is missing of a study, each run kept as it ends, then write its table and its picture.

    Args:
        name: of the study.
        place: where it is run.
        again: whether to make the runs too that are there, and to see that they come out as they were.

    Raises:
        UserError: there is no such study, a run failed, or came out otherwise than it had; those that ended are kept.
    """
    study, store, project = grid.load(name), Store(name), Project.load()
    wanted = grid.all_runs(study) if again else missing(study, store, project)
    moved: list[str] = []
    if wanted:
        made, left = here(), len(wanted)
        print(f"{name}: {left} of {len(grid.all_runs(study))} runs are to be made", flush=True)
        for run, metrics, elsewhere in place(wanted):
            by, maker = project.decided(run), {**made, "machine": elsewhere or made["machine"]}
            with store.changing(grid.all_runs(study)):
                record = store.current(run, by.identity)
                if record:
                    same = store.made_on(record, maker["machine"])
                    moved += [f"{run}: {row}" for row in differences(record, run, metrics, project, exactly=same)]
                store.add(run, by, metrics, maker)
            left -= 1
            print(f"{name}: {run} is done, {left} to go", flush=True)
        still = missing(study, store, project)
        if still:
            raise UserError(f"{name}: {len(still)} runs are missing; started again, it makes those alone")
    publish(name, study, store, project)
    if moved:
        raise UserError(f"{name}: {len(moved)} figures are not what they were: {moved[0]}")


def differences(record: Record, run: Run, metrics: Metrics, project: Project, *, exactly: bool) -> list[str]:
    """The figures of a run that are not what is kept of it, one line for each; figures that are new are none.

    Args:
        record: what is kept.
        run: what was run.
        metrics: what was measured now.
        project: whose params say how many images there are.
        exactly: whether this machine is like the one that made what is kept.
    """
    kept, found = dict(tolerance.figures(record["metrics"])), dict(tolerance.figures(metrics))
    if exactly:
        return [f"{key}: {_shown(kept[key])} -> {_shown(found.get(key))}" for key in kept if kept[key] != found.get(key)]
    path = Path(f"{run.method}.json")
    rows = tolerance.compare({path: record["metrics"]}, {path: metrics}, Mnist.model_validate(project.raw["mnist"]))
    return [f"{name.split(':')[1]}: {how}" for name, how, fine in rows if not fine and how != "is new"]


def _shown(value: Any) -> str:
    return f"{value['mean']:g}" if isinstance(value, Mapping) else str(value)


def publish(name: str, study: Study, store: Store, project: Project) -> None:
    """Write what is read of a study: its cells with the figures that it keeps, its table and its picture."""
    files.write_json(REPORTS / f"{name}.json", content(name, study, store, project))
    decided = with_verdicts(study, assembled(study, store), load_claims())
    files.write_text(REPORTS / f"{name}.md", markdown(name, study, decided, store.standing()))
    write_png(artifacts.FIGURES / f"studies/{name}.png", draw(name, study, decided))


def assembled(study: Study, store: Store) -> list[dict[str, Any]]:
    """The cells of a study with the figures that are kept of each; where it decides claims, with the first run's metrics."""
    found = []
    for method, settings in grid.cells(study):
        records = [store.record(run) for run in grid.runs(study, method, settings)]
        metrics = [record["metrics"] for record in records if record]
        if metrics:
            figures = {key: over_runs([look_up(one, key) for one in metrics]) for key in study.keep}
            cell = {"method": method, "settings": settings, **{k: v for k, v in figures.items() if v is not None}}
            found.append({**cell, "metrics": metrics[0]} if study.claims else cell)
    return found


def over_runs(figures: Sequence[Any]) -> Any:
    """One figure over several runs; what is no measured figure is that of the first."""
    if len(figures) == 1 or not all(isinstance(one, Mapping) for one in figures):
        return figures[0]
    return over_seeds([one["mean"] for one in figures])


def content(name: str, study: Study, store: Store, project: Project) -> dict[str, Any]:
    """What reports/studies/NAME.json holds."""
    blocks = {method: project.raw[grid.block(study, method)] for method in study.methods}
    domain = {} if study.images else {"preset": grid.preset(study, project.raw)}
    found = assembled(study, store)
    # Where a method has one cell, its figures stand under its name too, nested as in the metrics of the pipeline.
    single = {cell["method"]: _nested(study, cell) for cell in found} if study.images and not grid.varied(study) else {}
    return {
        "command": f"python -m stages.studies.run {name}",
        "standing": store.standing(),
        **domain,
        "blocks": blocks,
        "cells": found,
        **single,
    }


def _nested(study: Study, cell: Mapping[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for key in study.keep:
        *groups, last = key.split(".")
        block = figures
        for group in groups:
            block = block.setdefault(group, {})
        block[last] = cell.get(key)
    return figures
