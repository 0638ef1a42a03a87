"""The stored runs of a study: reports/studies/runs/NAME.json, with all metrics of each run, one run a line.

`domain` is the domain of all runs. `runs` has one record per run: its `method` and `settings`; its `identity` and the digest of
the `values` of its params (identity.py); the `commit` and the `machine` that computed it; `confirmations`, how often in a row
its identity was renewed without a rerun (confirm.py); `lacks`, if present, the names of metrics that were introduced since; and
its `metrics`.
`machines` has the facts of each machine by their digest. `confirmed`, if present, describes the last confirmation of any run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from filelock import FileLock

from stages.config import params as parameters
from stages.core.command import output
from stages.core.errors import UserError
from stages.dag import machine
from stages.pipeline import digests, files
from stages.studies.grid import REPORTS, Run
from stages.studies.identity import RunDigests

RUNS = REPORTS / "runs"
"""Folder of the stored runs."""
Record = dict[str, Any]
"""A stored run, see the entries of `runs` above."""


class Store:
    """The stored runs of one study."""

    def __init__(self, name: str) -> None:
        self.path = RUNS / f"{name}.json"
        self.read()

    def read(self) -> None:
        """Read the file; if it is missing, there are no runs.

        Raises:
            UserError: the file is damaged. It is not overwritten, since it may hold hours of work.
        """
        found: dict[str, Any] = {}
        if self.path.exists():
            try:
                found = files.read_json(self.path)
            except UserError:
                again = (
                    f"`git checkout -- {self.path}` restores the committed version; if it is deleted, all its runs are rerun"
                )
                raise UserError(f"{self.path} is damaged: {again}") from None
        self.domain: str = found.get("domain", "")
        self.machines: dict[str, Any] = dict(found.get("machines", {}))
        self.records: list[Record] = list(found.get("runs", []))
        self.confirmed: dict[str, Any] = dict(found.get("confirmed", {}))

    @contextmanager
    def changing(self, wanted: Sequence[Run]) -> Iterator[None]:
        """Lock and read the file, let the caller change the records, and write those of these runs; other writers wait."""
        RUNS.mkdir(parents=True, exist_ok=True)
        with FileLock(RUNS / ".lock"):
            self.read()
            yield
            self._write(wanted)

    def record(self, run: Run) -> Record | None:
        """The record of a run, whatever its identity; None if there is none."""
        if self.domain not in ("", run.domain):
            return None
        return next((one for one in self.records if (one["method"], one["settings"]) == (run.method, run.settings)), None)

    def current(self, run: Run, identity: str) -> Record | None:
        """The record of a run if it has this identity, else None."""
        found = self.record(run)
        return found if found and found["identity"] == identity else None

    def add(self, run: Run, digests_of_run: RunDigests, metrics: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Store a run that was computed now; it replaces an older record of the run."""
        same_domain = self.domain in ("", run.domain)
        self.records = [one for one in self.records if same_domain and one is not self.record(run)]
        self.domain = run.domain
        self.records.append(
            {
                "method": run.method,
                "settings": run.settings,
                "identity": digests_of_run.identity,
                "values": digests_of_run.values,
                "commit": made["commit"],
                "machine": self.machine_key(made["machine"]),
                "confirmations": 0,
                "metrics": dict(metrics),
            }
        )

    def made_on(self, record: Record, facts: Mapping[str, str]) -> bool:
        """Whether the record comes from a machine with these facts, so that a rerun there must give equal metrics."""
        return not machine.differences(self.machines.get(record["machine"], {}), facts)

    def machine_key(self, facts: Mapping[str, str]) -> str:
        """Store the facts of a machine; returns their digest."""
        key = digests.of_content(dict(facts))[:8]
        self.machines[key] = dict(facts)
        return key

    def _write(self, wanted: Sequence[Run]) -> None:
        """Write the records of these runs, in their order; all other records and machines without a record are dropped."""
        self.records = [found for run in wanted if (found := self.record(run))]
        used = {one["machine"] for one in self.records} | {self.confirmed.get("machine")}
        self.machines = {key: facts for key, facts in self.machines.items() if key in used}
        content: dict[str, Any] = {"domain": self.domain, "machines": self.machines, "runs": self.records}
        if any(one["confirmations"] for one in self.records):
            content["confirmed"] = self.confirmed
        files.write_json_rows(self.path, content, "runs")

    def standing(self) -> str:
        """The provenance in one sentence: commits and machines of the runs, and how the runs were confirmed since."""
        places = {(one["commit"], one["machine"]): None for one in self.records}
        made = "; ".join(f"computed at {commit} on {processor(self.machines[key])}" for commit, key in places)
        confirmed = [one for one in self.records if one["confirmations"]]
        if not confirmed:
            return f"{made}."
        last = self.confirmed
        return (
            f"{made}; {len(confirmed)} of {len(self.records)} runs confirmed at {last['commit']} on "
            f"{processor(self.machines[last['machine']])}: of the {last['of']} runs of all studies that the change affects, "
            f"{last['again']} were rerun and agree {last['agreed']}; "
            f"{max(one['confirmations'] for one in confirmed)} confirmations in a row."
        )


def processor(facts: Mapping[str, str]) -> str:
    """A short description of a machine."""
    parts = (facts.get(key, "") for key in ("device", "system", "torch instructions"))
    return ", ".join(part for part in parts if part) or "an unknown machine"


def provenance() -> dict[str, Any]:
    """The checked-out commit, with a `+` if there are uncommitted changes, and the facts of this machine."""
    changed = output("git", "status", "--porcelain", "--", "stages", "params.yaml", "mixtures.yaml", "dvc.yaml", "studies.yaml")
    commit = output("git", "rev-parse", "--short", "HEAD").strip() + ("+" if changed.strip() else "")
    return {"commit": commit, "machine": machine.facts(parameters.load())}
