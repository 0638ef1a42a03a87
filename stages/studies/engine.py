"""Completing a study with any backend: find the missing runs, store and compare results, publish the study.

A backend takes the missing runs and yields the metrics of each as it ends: here.py runs them in temporary folders on this
machine, experiments.py as DVC experiments in DVC's queue, cluster.py as DVC experiments on a Ray cluster. Nothing else depends
on the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from stages.config import mixture as mixtures
from stages.config import params as parameters
from stages.config import yaml_file
from stages.config.claims import load as load_claims
from stages.config.images import Mnist
from stages.core.errors import UserError
from stages.core.paths import MIXTURES
from stages.metrics.summary import over_seeds
from stages.pipeline import artifacts, files
from stages.pipeline.lookup import look_up
from stages.results import tolerance
from stages.studies import grid
from stages.studies.grid import REPORTS, Run, Study
from stages.studies.identity import RunDigests, run_digests
from stages.studies.report import description, draw, markdown, with_verdicts, write_described
from stages.studies.state import State, state_of
from stages.studies.store import Record, Store, provenance

Metrics = dict[str, Any]
"""All metrics of a run, as in the metrics files of the pipeline."""


class Result(NamedTuple):
    """A completed run.

    Args:
        run: the run.
        metrics: all its metrics.
        machine: the facts of the machine that computed it; None for this machine.
    """

    run: Run
    metrics: Metrics
    machine: Mapping[str, str] | None = None


Backend = Callable[[Sequence[Run]], Iterator[Result]]
"""Executes runs and yields the result of each as it ends, in any order."""


@dataclass
class Project:
    """The settings of a project that the runs of its studies depend on.

    Args:
        raw: the content of params.yaml.
        mixtures: the content of mixtures.yaml.
    """

    raw: dict[str, Any]
    mixtures: dict[str, Any]

    @classmethod
    def load(cls) -> Project:
        """The settings in the current folder."""
        return cls(parameters.read(), yaml_file.read(MIXTURES))

    def digests(self, run: Run) -> RunDigests:
        """The identity of a run and the digest of its params' values."""
        return run_digests(run, self.raw, self.mixtures)


def missing(study: Study, store: Store, project: Project) -> list[Run]:
    """The runs of a study that are not stored, have another identity now, or lack a reported metric."""
    return state_of(study, store, project.digests).missing


def states(project: Project) -> dict[str, State]:
    """The states of all studies by name, in the order of studies.yaml."""
    return {name: state_of(grid.load(name), Store(name), project.digests) for name in grid.names()}


def study_of_day(day: date, found: Mapping[str, State]) -> str:
    """The study that is rerun as a whole on a day: those that are not current take turns; if there are none, all do.

    Args:
        day: the day.
        found: the states of all studies.
    """
    studies = [name for name, state in found.items() if state.name != "current"] or list(found)
    return studies[day.toordinal() % len(studies)]


def complete(name: str, backend: Backend, *, again: bool = False) -> None:
    """Compute the missing runs of a study, store each as it ends, then publish the study.

    Args:
        name: name of the study.
        backend: executes the runs.
        again: whether to rerun the stored runs too and compare.

    Raises:
        UserError: there is no such study, a run failed, or a rerun differs from the stored run. Completed runs are stored.
    """
    study, store, project = grid.load(name), Store(name), Project.load()
    wanted = grid.all_runs(study) if again else missing(study, store, project)
    moved: list[str] = []
    if wanted:
        made, left = provenance(), len(wanted)
        print(f"{name}: {left} of {len(grid.all_runs(study))} runs to compute", flush=True)
        for run, metrics, elsewhere in backend(wanted):
            digests, maker = project.digests(run), {**made, "machine": elsewhere or made["machine"]}
            with store.changing(grid.all_runs(study)):
                record = store.current(run, digests.identity)
                if record:
                    same = store.made_on(record, maker["machine"])
                    moved += [f"{run}: {row}" for row in differences(record, run, metrics, project, exactly=same)]
                store.add(run, digests, metrics, maker)
            left -= 1
            print(f"{name}: {run} is done, {left} to go", flush=True)
        still = missing(study, store, project)
        if still:
            raise UserError(f"{name}: {len(still)} runs are missing; run the command again to compute only those")
    publish(name, study, store, project)
    if moved:
        raise UserError(f"{name}: {len(moved)} metrics changed: {moved[0]}")


def differences(record: Record, run: Run, metrics: Metrics, project: Project, *, exactly: bool) -> list[str]:
    """The metrics of a rerun that differ from the stored run, one line each; new metrics are ignored.

    Args:
        record: the stored run.
        run: the run.
        metrics: the metrics of the rerun.
        project: provides the numbers of images.
        exactly: whether the metrics must be equal, since both machines have the same facts.
    """
    kept, found = dict(tolerance.flattened(record["metrics"])), dict(tolerance.flattened(metrics))
    if exactly:
        return [f"{key}: {_shown(kept[key])} -> {_shown(found.get(key))}" for key in kept if kept[key] != found.get(key)]
    path = Path(f"{run.method}.json")
    rows = tolerance.compare(
        {path: record["metrics"]}, {path: metrics}, Mnist.model_validate(project.raw["mnist"]), project.raw["pixels"]["samples"]
    )
    return [f"{name.split(':')[1]}: {how}" for name, how, fine in rows if not fine and how != "is new"]


def _shown(value: Any) -> str:
    return f"{value['mean']:g}" if isinstance(value, Mapping) else str(value)


def publish(name: str, study: Study, store: Store, project: Project) -> None:
    """Write the files of a study that are read: its cells with the reported metrics, its table and its picture.

    The files of an incomplete or outdated study say so. An incomplete study and one that lists its cells have
    no picture.
    """
    written = content(name, study, store, project)
    files.write_json(REPORTS / f"{name}.json", written)
    files.write_text(REPORTS / f"{name}.md", report(name, study, store, written))
    picture = artifacts.FIGURES / f"studies/{name}.png"
    if study.cases or "incomplete" in written:
        picture.unlink(missing_ok=True)
        return
    preset = written.get("preset", "")
    mixture = mixtures.load().get(preset) if preset != project.raw["mog"]["preset"] else None
    decided = with_verdicts(study, assembled(study, store), load_claims())
    notices = written.get("notices", [])
    write_described(picture, draw(name, study, decided, mixture, outdated=bool(notices)), " ".join(notices))


def publish_changed(names: Sequence[str], project: Project) -> list[str]:
    """Publish those of the studies whose published files differ from what the stored runs and the code imply.

    Args:
        names: names of studies.
        project: the current settings.

    Returns:
        the names of the published studies.
    """
    changed = []
    for name in names:
        study, store = grid.load(name), Store(name)
        wanted = content(name, study, store, project)
        if not _is_published(name, study, wanted, report(name, study, store, wanted)):
            publish(name, study, store, project)
            changed.append(name)
    return changed


def _is_published(name: str, study: Study, wanted: Mapping[str, Any], text: str) -> bool:
    """Whether the published files of a study have this content and text, and its picture, if it needs one, these notices."""
    table, picture = REPORTS / f"{name}.md", artifacts.FIGURES / f"studies/{name}.png"
    try:
        if files.read_json(REPORTS / f"{name}.json") != wanted or table.read_text(encoding="utf-8") != text:
            return False
        if study.cases or "incomplete" in wanted:
            return not picture.exists()
        return description(picture) == " ".join(wanted.get("notices", ()))
    except (UserError, OSError):
        return False


def report(name: str, study: Study, store: Store, published: Mapping[str, Any]) -> str:
    """The content of reports/studies/NAME.md.

    Args:
        name: name of the study.
        study: its declaration.
        store: its stored runs.
        published: the content of reports/studies/NAME.json.
    """
    decided = with_verdicts(study, assembled(study, store), load_claims())
    notices, complete = published.get("notices", ()), "incomplete" not in published
    return markdown(name, study, decided, store.standing(), notices=notices, complete=complete)


def assembled(study: Study, store: Store) -> list[dict[str, Any]]:
    """The cells whose runs are all stored, with the reported metrics and, if the study decides claims, all of the first run."""
    found = []
    for method, settings in grid.cells(study):
        records = [store.record(run) for run in grid.runs(study, method, settings)]
        metrics = [record["metrics"] for record in records if record]
        if len(metrics) == len(records):
            reported = {key: over_runs([look_up(one, key) for one in metrics]) for key in study.keep}
            cell = {"method": method, "settings": settings, **{k: v for k, v in reported.items() if v is not None}}
            found.append({**cell, "metrics": metrics[0]} if study.claims else cell)
    return found


def over_runs(values: Sequence[Any]) -> Any:
    """A metric over several runs, None if one lacks it; a value without a mean, such as a verdict, is that of the first run."""
    if any(one is None for one in values):
        return None
    if len(values) == 1 or not all(isinstance(one, Mapping) for one in values):
        return values[0]
    return over_seeds([one["mean"] for one in values])


def content(name: str, study: Study, store: Store, project: Project) -> dict[str, Any]:
    """The content of reports/studies/NAME.json."""
    state = state_of(study, store, project.digests)
    notices = list(state.notices(name))
    for other in study.studies.values():
        sentences = state_of(grid.load(other), Store(other), project.digests).notices(other)
        notices += [f"Some verdicts depend on the study `{other}`: {sentence}" for sentence in sentences]
    # The params of runs with other params are unknown.
    unknown = {run.method for run in state.other_params}
    blocks = {method: {} if method in unknown else look_up(project.raw, grid.block(study, method)) for method in study.methods}
    domain = {} if study.images else {"preset": "" if unknown else grid.preset(study, project.raw)}
    found = assembled(study, store)
    # If each method has one cell, its metrics are also stored under its name, nested as in the metrics of the pipeline.
    single = {cell["method"]: _nested(study, cell) for cell in found} if study.images and not grid.varied(study) else {}
    return {
        "command": f"python -m stages.studies.run {name}",
        "standing": store.standing(),
        **({"notices": notices} if notices else {}),
        **state.counts,
        **domain,
        "blocks": blocks,
        "cells": found,
        **single,
    }


def _nested(study: Study, cell: Mapping[str, Any]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for key in study.keep:
        *groups, last = key.split(".")
        block = metrics
        for group in groups:
            block = block.setdefault(group, {})
        block[last] = cell.get(key)
    return metrics
