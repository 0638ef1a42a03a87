"""Stage track: log the reproduced pipeline to MLflow. The only stage that imports mlflow.

One parent run stands for one state of dvc.lock, with a child run per method and world; what is logged already is skipped, so
that this may run after every `dvc repro` (`make track`). A failure of the tracking server is a warning: it never fails the
pipeline, and a later call completes what is missing. Results that are not those of dvc.lock are not logged.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import digests, files, machine, runtime
from stages.errors import UserError
from stages.lock import LOCK, differences, inputs, locked_stages
from stages.params import FILE, Params, read
from stages.schema import MNIST_PREFIX
from stages.store import EXPERIMENT, LATER, be_impatient, folder, is_server, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 300
"""Seconds that a server may take for everything; hundreds of requests that each are answered slowly would take hours."""
BATCH = 1000
"""Metrics in one call, the most that MLflow takes."""
MACHINE = "machine."
"""How the tags with the facts of the machine begin."""


def main(params: Params) -> None:
    """Note the machine; log what is not logged yet, and warn where that fails."""
    be_impatient()
    try:
        values = read()
        stages = locked_stages(values)
        moved = differences(stages, values)
        if moved:
            print(f"track: nothing is logged, since {moved[0]}: `dvc repro` first")
            return
        facts = _facts(params, stages)
        if LATER in os.environ:
            return
        with Store() as client, deadline(PATIENCE if is_server() else None):
            Tracker(client, params, stages, facts).log()
    except Exception as error:  # whatever the server or its store says, the pipeline's results stand
        text = " ".join(str(error).split())[:300]
        print(f"warning: not logged to MLflow ({type(error).__name__}: {text}); {_again()} tries again", file=sys.stderr)


def _again() -> str:
    """The command by which this state is logged later; an experiment's results lie nowhere but in the experiment."""
    name = os.environ.get("DVC_EXP_NAME")
    return f"`dvc exp apply {name} && DVC_EXP_NAME={name} make track`" if name else "`make track`"


def _facts(params: Params, stages: Mapping[str, Any]) -> dict[str, str]:
    """The facts of the machine that made the results of dvc.lock, noted where DVC has just made them; none where unknown."""
    recorded: dict[str, Any] = {}
    # Where it is missing or damaged it is made anew.
    with suppress(UserError):
        recorded = files.read_json(machine.FILE)
    wanted = machine.record(stages, {})["outputs"]
    if recorded.get("outputs") != wanted:
        # Called by hand, this may see what another machine made.
        recorded = machine.record(stages, machine.facts(params)) if "DVC_STAGE" in os.environ else {"facts": {}}
        if recorded["facts"]:
            files.write_json(machine.FILE, recorded)
    facts: dict[str, str] = recorded["facts"]
    return facts


class TooSlow(Exception):
    """Logging takes too long. No OSError: what reads from a server would try again after one."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise TooSlow in the main thread where the block takes longer than so many seconds; None is no limit."""

    def late(*_: object) -> None:
        raise TooSlow(f"it takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Part:
    """One method in one world: what its run holds."""

    name: str
    stages: dict[str, Any]
    params: dict[str, Any]
    metrics: Path
    curves: list[Path]
    figures: Path
    verdicts: dict[str, str]


class Tracker:
    """Logs the working directory's dvc.lock, params, metrics, curves and figures, with the facts of the machine."""

    def __init__(self, client: MlflowClient, params: Params, stages: dict[str, Any], facts: Mapping[str, str]) -> None:
        self.facts = {f"{MACHINE}{name}": value for name, value in facts.items()}
        self.client = client
        self.params = params
        self.stages = stages
        self.experiment = self._experiment()

    def log(self) -> None:
        """Log the parent run and its children, as far as they are missing."""
        lock_digest, inputs_digest = digests.of_content(self.stages), digests.of_content(inputs(self.stages))
        self._warn_of_nondeterminism(lock_digest, inputs_digest)
        tags = {
            "lock_digest": lock_digest,
            "inputs_digest": inputs_digest,
            "git_commit": _git("rev-parse", "HEAD"),
            "dvc_experiment": os.environ.get("DVC_EXP_NAME", ""),
            "dvc_baseline": _baseline(),
            **self.facts,
        }
        name = os.environ.get("DVC_EXP_NAME") or f"{tags['git_commit'][:7] or 'no-git'}-{lock_digest[:7]}"
        query = f"tags.lock_digest = '{lock_digest}' and tags.part = 'pipeline'"
        parent, new = self._run(query, name, {"part": "pipeline", **tags})
        if new:
            self._params(parent, self.params.model_dump(exclude={"blocks"}))
            self._metrics(parent, {**_costs(), **flatten(files.read_json(Path("reports/metrics/summary.json")))})
            self._artifacts(
                parent,
                [
                    FILE,
                    LOCK,
                    Path("reports/table.md"),
                    Path("reports/claims.md"),
                    Path("reports/mnist.md"),
                    Path("reports/figures/gallery.png"),
                    *sorted(Path("reports/figures/mnist").glob("*.png")),
                ],
            )
        for part in self._parts():
            self._log_part(part, parent)
        if new:
            self.client.set_terminated(parent)
            print(f"track: logged run {name}")

    def _parts(self) -> Iterator[Part]:
        claims = files.read_json(Path("reports/claims.json"))
        for world, methods, prefix in (
            ("mog", self.params.methods, ""),
            ("mnist", self.params.mnist.methods, MNIST_PREFIX),
        ):
            for method in methods:
                yield Part(
                    name=f"{world}.{method}",
                    stages={k: v for k, v in self.stages.items() if k.startswith(f"{world}_") and k.endswith(f"@{method}")},
                    params=self.params.blocks[prefix + method].model_dump(),
                    metrics=Path(f"reports/metrics/{world}/{method}.json"),
                    curves=sorted(Path(f"reports/curves/{world}").glob(f"{method}.*csv")),
                    figures=Path(f"reports/figures/{world}/{method}"),
                    verdicts=_verdicts(claims.get(method, {}) if world == "mog" else {}),
                )

    def _log_part(self, part: Part, parent: str) -> None:
        query = f"tags.mlflow.parentRunId = '{parent}' and tags.part = '{part.name}'"
        tags = {
            "part": part.name,
            "stage_digest": digests.of_content(part.stages),
            "mlflow.parentRunId": parent,
            **part.verdicts,
        }
        run, new = self._run(query, part.name, tags)
        if not new:
            return
        self._params(run, part.params)
        self._metrics(run, flatten(files.read_json(part.metrics)))
        for curve in part.curves:
            self._curve(run, curve)
        self._artifacts(run, [part.metrics, *sorted(part.figures.rglob("*"))])
        self.client.set_terminated(run)

    def _run(self, query: str, name: str, tags: Mapping[str, str]) -> tuple[str, bool]:
        """The run that the query finds, or a new one, and whether it is still to be filled.

        An attempt that broke off is taken up again: what it has already is the same, and its children stay its own.
        """
        found = sorted(self.client.search_runs([self.experiment], query), key=lambda run: run.info.status != "FINISHED")
        if found:
            return found[0].info.run_id, found[0].info.status != "FINISHED"
        run = self.client.create_run(self.experiment, tags=dict(tags), run_name=name)
        return run.info.run_id, True

    def _warn_of_nondeterminism(self, lock_digest: str, inputs_digest: str) -> None:
        for run in self.client.search_runs(
            [self.experiment], f"tags.inputs_digest = '{inputs_digest}' and tags.part = 'pipeline'"
        ):
            if run.data.tags["lock_digest"] != lock_digest:
                there = {name: value for name, value in run.data.tags.items() if name.startswith(MACHINE)}
                why = f" ({'; '.join(machine.moved(there, self.facts))})" if there != self.facts else ""
                print(f"warning: run {run.info.run_name} had equal inputs and other outputs{why}", file=sys.stderr)

    def _params(self, run: str, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:5000]) for key, value in flatten(values, numbers=False).items()]
        for start in range(0, len(flat), 100):
            self.client.log_batch(run, params=flat[start : start + 100])

    def _metrics(self, run: str, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, float(value), now, step) for key, value in values.items()]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + BATCH])

    def _curve(self, run: str, path: Path) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        metrics = [
            Metric(f"curve.{path.stem}.{key}", float(value), now, int(row["step"]))
            for row in rows
            for key, value in row.items()
            if key != "step"
        ]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run, metrics=metrics[start : start + BATCH])

    def _artifacts(self, run: str, paths: list[Path]) -> None:
        for path in paths:
            if path.is_file():
                self.client.log_artifact(run, str(path))

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # An experiment's artifact location is fixed when it is made; the default would be the working directory, which is
        # a temporary one in `dvc exp run --temp`.
        location = None if is_server() else (folder().absolute() / "mlartifacts").as_uri()
        try:
            return str(self.client.create_experiment(EXPERIMENT, artifact_location=location))
        except MlflowException:
            found = self.client.get_experiment_by_name(EXPERIMENT)
            if not found:
                raise
            return str(found.experiment_id)  # another machine was first


class Store:
    """A client of the store; its creation is locked, since several processes creating one SQLite store at once collide."""

    def __enter__(self) -> MlflowClient:
        from filelock import FileLock
        from mlflow import MlflowClient

        self.lock = FileLock(folder() / ".mlflow.lock", timeout=300)
        self.lock.acquire()
        try:
            return MlflowClient(tracking_uri=tracking_uri())
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def flatten(values: Mapping[str, Any], prefix: str = "", numbers: bool = True) -> dict[str, Any]:
    """Nested values with dotted keys.

    With `numbers`, only numbers are kept: a measured figure gives its mean and, over several seeds, its std.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("@", ".").replace("#", ".")
        if numbers and isinstance(value, Mapping) and "mean" in value:
            flat[name] = value["mean"]
            if len(value["values"]) > 1:
                flat[f"{name}.std"] = value["std"]
        elif isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.", numbers)
        elif not numbers or isinstance(value, (int, float)):
            flat[name] = value
    return flat


def _verdicts(claims: Mapping[str, Any]) -> dict[str, str]:
    """The verdicts on the claims about a method, as tags by which runs can be searched."""
    return {f"claim.{name}": f"{claim['claimed']}: {claim['verdict']}" for name, claim in claims.items()}


def _baseline() -> str:
    """The commit that an experiment started from; one that was applied lies on it."""
    return os.environ.get("DVC_EXP_BASELINE_REV") or (_git("rev-parse", "HEAD") if "DVC_EXP_NAME" in os.environ else "")


def _costs() -> dict[str, float]:
    costs = {path.stem: files.read_json(path) for path in sorted(runtime.COSTS.glob("*.json"))}
    return {f"cost.{stage}.{key}": value for stage, figures in costs.items() for key, value in figures.items()}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    runtime.run(main)
