"""Log the states in the spool to MLflow; the only module of the pipeline that imports mlflow.

A parent run represents one state of dvc.lock. A child run represents the results of one method in one domain and belongs to the
first state that has these results, so the children of an experiment are the results it changed. Logged runs are skipped.

`python -m stages.tracking.log` logs in the background and keeps its messages in the spool.
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
from stages.tracking.store import EXPERIMENT, artifacts, check, folder, is_server, limit_retries, tracking_uri, update_locations

if TYPE_CHECKING:
    from mlflow import MlflowClient

TIMEOUT = 300
"""Seconds a server may take for one state: hundreds of slow requests could otherwise take hours."""
BATCH = {"metrics": 900, "params": 100}
"""Entries per call: MLflow accepts at most 1000, of which at most 100 params."""


def log_waiting(report: Callable[[str], None]) -> None:
    """Log all states in the spool; a state that fails goes to the end of the spool, and a warning gives the reason."""
    limit_retries()
    tried: set[Path] = set()
    failures: list[Exception] = []
    try:
        with Store() as client:
            # States may arrive during logging. A second failure means that the store does not work.
            while len(failures) < 2 and (entry := next((entry for entry in spool.waiting() if entry not in tried), None)):
                tried.add(entry)
                try:
                    _log(client, entry, report)
                except Exception as error:  # the server may accept another state
                    failures.append(error)
                    spool.put_last(entry)
    except Exception as error:  # a failure of the store must not fail the pipeline
        failures.append(error)
    if failures:
        text = " ".join(str(failures[0]).split())[:300]
        report(f"warning: not logged to MLflow ({type(failures[0]).__name__}: {text}); `make track` tries again")


def _log(client: MlflowClient, entry: Path, report: Callable[[str], None]) -> None:
    """Log the state in a folder of the spool, then remove the folder."""
    state = spool.read(entry)
    if state:
        with deadline(TIMEOUT if is_server() else None):
            Tracker(client, entry, state, report).log()
    spool.drop(entry)


class TooSlow(Exception):
    """Logging takes too long. Not a TimeoutError: HTTP clients retry after an OSError."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raise TooSlow in the main thread if the block takes longer than `seconds`; None is no limit."""

    def expire(*_: object) -> None:
        raise TooSlow(f"logging takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Tracker:
    """Logs one state.

    Args:
        client: the client of the store.
        place: the folder with copies of the state's files.
        state: the state to log.
        report: receives messages for the user.
    """

    def __init__(self, client: MlflowClient, place: Path, state: State, report: Callable[[str], None]) -> None:
        self.client, self.place, self.state, self.report = client, place, state, report
        self.experiment = self._experiment()

    def log(self) -> None:
        """Log the parent run and its children unless they are logged already."""
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
            self.report(f"track: logged run {whole.name}")

    def _log_part(self, part: Run, parent: str) -> None:
        """Log one method, unless a finished run has the same results."""
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
        """Find or create a run.

        An interrupted attempt is resumed: its content so far is the same, and it keeps its children.

        Returns:
            The run's ID, and whether its content must still be logged.
        """
        found = sorted(self.client.search_runs([self.experiment], query), key=lambda run: run.info.status != "FINISHED")
        if found:
            return found[0].info.run_id, found[0].info.status != "FINISHED"
        run = self.client.create_run(self.experiment, tags={**wanted.tags, **tags}, run_name=wanted.name)
        return run.info.run_id, True

    def _warn_of_nondeterminism(self, whole: Run) -> None:
        """Report logged runs that have the same inputs but different outputs."""
        query = f"tags.inputs_digest = '{whole.tags['inputs_digest']}' and tags.part = 'pipeline'"
        here = {name: value for name, value in whole.tags.items() if name.startswith(MACHINE)}
        for run in self.client.search_runs([self.experiment], query):
            if run.data.tags["lock_digest"] != whole.tags["lock_digest"]:
                there = {name: value for name, value in run.data.tags.items() if name.startswith(MACHINE)}
                reason = f" ({'; '.join(machine.differences(there, here))})" if there != here else ""
                self.report(f"warning: run {run.info.run_name} had the same inputs but different outputs{reason}")

    def _fill(self, run: str, content: Run) -> None:
        """Log params, metrics, learning curves and artifacts in as few calls as possible, since a server may be slow."""
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
        """The ID of the experiment, which is created or restored if necessary."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # The artifact location is fixed at creation; the default would be the working directory.
        location = None if is_server() else artifacts()
        try:
            return str(self.client.create_experiment(EXPERIMENT, artifact_location=location))
        except MlflowException:
            found = self.client.get_experiment_by_name(EXPERIMENT)
            if not found:
                raise
            return str(found.experiment_id)  # another machine created it first


class Store:
    """Context with a client of the store, one process at a time: concurrent creation of a SQLite store fails."""

    def __enter__(self) -> MlflowClient:
        from filelock import FileLock

        check()
        from mlflow import MlflowClient

        self.lock = FileLock(folder() / ".mlflow.lock", timeout=300)
        self.lock.acquire()
        try:
            update_locations()
            return MlflowClient(tracking_uri=tracking_uri())
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.lock.release()


if __name__ == "__main__":
    os.nice(10)  # foreground work has priority
    log_waiting(spool.note)
