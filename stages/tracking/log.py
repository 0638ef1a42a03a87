"""Log the states that wait in the spool to MLflow; the only module of the pipeline that imports mlflow.

One parent run stands for one state of dvc.lock. Each method of each domain has a child run under the first state with these
results of it; so what is nested under an experiment is what it changed. What is logged already is skipped.

`python -m stages.tracking.log` logs them in the background: what it would say is kept in the spool.
"""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.dag import machine
from stages.tracking import spool
from stages.tracking.state import MACHINE, Run, State
from stages.tracking.store import EXPERIMENT, artifacts, be_impatient, check, folder, follow, is_server, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 300
"""Seconds that a server may take for one state; hundreds of requests that each are answered slowly would take hours."""
BATCH = {"metrics": 900, "params": 100}
"""How much goes into one call: MLflow takes at most 1000 entries, and of these 100 params."""


def log_waiting(say: Callable[[str], None]) -> None:
    """Log all states of the spool; one that cannot be logged stays there, behind the others, and a warning says why."""
    be_impatient()
    tried: set[Path] = set()
    failures: list[Exception] = []
    try:
        with Store() as client:
            # Some may come while others are logged. Where a second one fails, it is the store that does not work.
            while len(failures) < 2 and (entry := next((entry for entry in spool.waiting() if entry not in tried), None)):
                tried.add(entry)
                try:
                    _log(client, entry, say)
                except Exception as error:  # whatever the server says of this state, it may accept another
                    failures.append(error)
                    spool.put_last(entry)
    except Exception as error:  # whatever the store says, the pipeline's results stand
        failures.append(error)
    if failures:
        text = " ".join(str(failures[0]).split())[:300]
        say(f"warning: not logged to MLflow ({type(failures[0]).__name__}: {text}); `make track` tries again")


def _log(client: MlflowClient, entry: Path, say: Callable[[str], None]) -> None:
    state = spool.read(entry)
    if state:
        with deadline(PATIENCE if is_server() else None):
            Tracker(client, entry, state, say).log()
    spool.drop(entry)


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


class Tracker:
    """Logs one state.

    Args:
        client: of the store.
        place: the folder in which the state's files lie.
        state: what is logged.
        say: takes what a user should know.
    """

    def __init__(self, client: MlflowClient, place: Path, state: State, say: Callable[[str], None]) -> None:
        self.client, self.place, self.state, self.say = client, place, state, say
        self.experiment = self._experiment()

    def log(self) -> None:
        """Log the parent run and its children, as far as they are missing."""
        whole = self.state.whole
        self._warn_of_nondeterminism(whole)
        query = f"tags.lock_digest = '{whole.tags['lock_digest']}' and tags.part = 'pipeline'"
        parent, new = self._run(query, whole, {})
        if new:
            self._fill(parent, whole)
        for part in self.state.parts:
            self._log_part(part, parent)
        if new:
            self.client.set_terminated(parent)
            self.say(f"track: logged run {whole.name}")

    def _log_part(self, part: Run, parent: str) -> None:
        """Log one method, unless these results of it are logged already."""
        query = f"tags.results_digest = '{part.tags['results_digest']}' and tags.part = '{part.name}'"
        found = self.client.search_runs([self.experiment], query)
        if any(run.info.status == "FINISHED" for run in found):
            return
        query = f"tags.mlflow.parentRunId = '{parent}' and tags.part = '{part.name}'"
        run, new = self._run(query, part, {"mlflow.parentRunId": parent})
        if new:
            self._fill(run, part)
            self.client.set_terminated(run)

    def _run(self, query: str, wanted: Run, tags: Mapping[str, str]) -> tuple[str, bool]:
        """The run that the query finds, or a new one, and whether it is still to be filled.

        An attempt that broke off is taken up again: what it has already is the same, and its children stay its own.
        """
        found = sorted(self.client.search_runs([self.experiment], query), key=lambda run: run.info.status != "FINISHED")
        if found:
            return found[0].info.run_id, found[0].info.status != "FINISHED"
        run = self.client.create_run(self.experiment, tags={**wanted.tags, **tags}, run_name=wanted.name)
        return run.info.run_id, True

    def _warn_of_nondeterminism(self, whole: Run) -> None:
        query = f"tags.inputs_digest = '{whole.tags['inputs_digest']}' and tags.part = 'pipeline'"
        here = {name: value for name, value in whole.tags.items() if name.startswith(MACHINE)}
        for run in self.client.search_runs([self.experiment], query):
            if run.data.tags["lock_digest"] != whole.tags["lock_digest"]:
                there = {name: value for name, value in run.data.tags.items() if name.startswith(MACHINE)}
                why = f" ({'; '.join(machine.moved(there, here))})" if there != here else ""
                self.say(f"warning: run {run.info.run_name} had equal inputs and other outputs{why}")

    def _fill(self, run: str, content: Run) -> None:
        """Log params, metrics and metrics over training in as few calls as may be: a server may answer each one slowly."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        values: dict[str, list[Any]] = {
            "params": [Param(key, str(value)[:5000]) for key, value in content.params.items()],
            "metrics": [Metric(key, float(value), now, 0) for key, value in content.metrics.items()],
        }
        for path in content.curves:
            with (self.place / path).open(encoding="utf-8") as file:
                values["metrics"] += [
                    Metric(f"curve.{Path(path).stem}.{key}", float(value), now, int(row["step"]))
                    for row in csv.DictReader(file)
                    for key, value in row.items()
                    if key != "step"
                ]
        calls = max(-(-len(values[kind]) // most) for kind, most in BATCH.items())
        for call in range(calls):
            self.client.log_batch(run, **{kind: values[kind][call * n : (call + 1) * n] for kind, n in BATCH.items()})
        for path in content.artifacts:
            self.client.log_artifact(run, str(self.place / path))

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # An experiment's artifact location is fixed when it is made; the default would be the working directory.
        location = None if is_server() else artifacts()
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

        check()
        from mlflow import MlflowClient

        self.lock = FileLock(folder() / ".mlflow.lock", timeout=300)
        self.lock.acquire()
        try:
            follow()
            return MlflowClient(tracking_uri=tracking_uri())
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.lock.release()


if __name__ == "__main__":
    os.nice(10)  # whoever goes on working comes first
    log_waiting(spool.note)
