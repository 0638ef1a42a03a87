"""The runs of a study that there are: reports/studies/runs/NAME.json, with all that was measured in each.

`runs` has for each its `method` and `settings`; its `identity`, which decides its metrics, and the digest of the `values` of
its params (identity.py); the `commit` and the `machine` that made it; `confirmations`, how often in a row the identity was
renewed by a sample and not by this run (confirm.py); `lacks`, the names of figures that are measured since, if there are any;
and its `metrics`. `machines` has the facts of each machine by a digest of them. `confirmed` has the last confirmation of any of
the runs, if there was one.
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
from stages.studies.identity import Decided

RUNS = REPORTS / "runs"
Record = dict[str, Any]


class Store:
    """The runs of one study, as they are kept in its file."""

    def __init__(self, name: str) -> None:
        self.path = RUNS / f"{name}.json"
        self.read()

    def read(self) -> None:
        """Read the file; where there is none there are no runs.

        Raises:
            UserError: it is damaged. Hours of work may be in it, so nothing is written in its place.
        """
        found: dict[str, Any] = {}
        if self.path.exists():
            try:
                found = files.read_json(self.path)
            except UserError:
                again = f"`git checkout -- {self.path}` brings back what was committed; without the file all its runs are made"
                raise UserError(f"{self.path} is damaged: {again}") from None
        self.machines: dict[str, Any] = dict(found.get("machines", {}))
        self.records: list[Record] = list(found.get("runs", []))
        self.confirmed: dict[str, Any] = dict(found.get("confirmed", {}))

    @contextmanager
    def changing(self, wanted: Sequence[Run]) -> Iterator[None]:
        """Change what the file has by now, and write these runs; others that do so wait."""
        RUNS.mkdir(parents=True, exist_ok=True)
        with FileLock(RUNS / ".lock"):
            self.read()
            yield
            self._write(wanted)

    def record(self, run: Run) -> Record | None:
        """What there is of a run, made with whatever code."""
        return next((one for one in self.records if (one["method"], one["settings"]) == (run.method, run.settings)), None)

    def current(self, run: Run, identity: str) -> Record | None:
        """What there is of a run that this identity has."""
        found = self.record(run)
        return found if found and found["identity"] == identity else None

    def add(self, run: Run, decided: Decided, metrics: Mapping[str, Any], made: Mapping[str, Any]) -> None:
        """Keep a run that was made now, in the place of an older one."""
        self.records = [one for one in self.records if one is not self.record(run)]
        self.records.append(
            {
                "method": run.method,
                "settings": run.settings,
                "identity": decided.identity,
                "values": decided.values,
                "commit": made["commit"],
                "machine": self.known(made["machine"]),
                "confirmations": 0,
                "metrics": dict(metrics),
            }
        )

    def made_on(self, record: Record, facts: Mapping[str, str]) -> bool:
        """Whether a run was made on a machine like this one, so that it has to come out the same to the last digit."""
        return not machine.moved(self.machines.get(record["machine"], {}), facts)

    def known(self, facts: Mapping[str, str]) -> str:
        """The digest by which the facts of a machine are kept."""
        key = digests.of_content(dict(facts))[:8]
        self.machines[key] = dict(facts)
        return key

    def _write(self, wanted: Sequence[Run]) -> None:
        """Write what there is of these runs, in their order; what else there was is of no use any more."""
        self.records = [found for run in wanted if (found := self.record(run))]
        used = {one["machine"] for one in self.records} | {self.confirmed.get("machine")}
        self.machines = {key: facts for key, facts in self.machines.items() if key in used}
        content: dict[str, Any] = {"machines": self.machines, "runs": self.records}
        if any(one["confirmations"] for one in self.records):
            content["confirmed"] = self.confirmed
        files.write_json(self.path, content)

    def standing(self) -> str:
        """One line: at which commits and on which machines the runs were made, and how they were confirmed since."""
        places = {(one["commit"], one["machine"]): None for one in self.records}
        made = "; ".join(f"made at {commit} on {processor(self.machines[key])}" for commit, key in places)
        confirmed = [one for one in self.records if one["confirmations"]]
        if not confirmed:
            return f"{made}."
        last = self.confirmed
        return (
            f"{made}; {len(confirmed)} of its {len(self.records)} runs confirmed at {last['commit']} on "
            f"{processor(self.machines[last['machine']])}: {last['again']} of {last['of']} runs of all studies that the change "
            f"concerned were made again and agree {last['agreed']}, "
            f"{max(one['confirmations'] for one in confirmed)} such in a row."
        )


def processor(facts: Mapping[str, str]) -> str:
    """A machine in a few words."""
    words = (facts.get(key, "") for key in ("device", "system", "torch instructions"))
    return ", ".join(word for word in words if word) or "a machine of which nothing is known"


def here() -> dict[str, Any]:
    """The commit that is checked out and this machine, for what is made now; a `+` after what is not committed."""
    changed = output("git", "status", "--porcelain", "--", "stages", "params.yaml", "mixtures.yaml", "dvc.yaml", "studies.yaml")
    commit = output("git", "rev-parse", "--short", "HEAD").strip() + ("+" if changed.strip() else "")
    return {"commit": commit, "machine": machine.facts(parameters.load())}
