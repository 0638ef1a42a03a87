"""`make confirm`: confirm by a sample of reruns that a code change changed no metric.

    python -m stages.studies.confirm [--draw]

A refactoring changes the identity of runs (identity.py) but should change no metric. This command reruns a sample of the
affected runs, compares all their metrics with the stored ones and, if all agree, gives all affected runs their new identity. On
a machine with the same facts the metrics must be equal; on another one they may differ within the statistical tolerance
(results/tolerance.py).

The sample has at least one run of each method in each domain. It is drawn by a digest of the new identities, so the author of a
change cannot choose it. The reruns replace the stored runs. A run must be rerun if it was confirmed `MAX_CONFIRMATIONS` times
since it was computed, or if the value of a param changed. `--draw` only prints the sample.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.config import params as parameters
from stages.core.command import end
from stages.core.errors import UserError
from stages.pipeline import digests, files
from stages.results.tolerance import flattened
from stages.studies import grid, here
from stages.studies.engine import Backend, Metrics, Project, differences, missing, publish
from stages.studies.grid import Run
from stages.studies.identity import RunDigests
from stages.studies.store import Record, Store, provenance

MAX_CONFIRMATIONS = 5
"""How often a run may be confirmed before it must be rerun."""
MIN_SAMPLE = 5
"""Smallest size of the sample, if that many runs are affected."""
SHARES = (0.1, 0.25, 0.5)
"""Shares of changed runs for which the probability of missing them is printed."""
EXACTLY, NEARLY = "to the last digit", "within the statistical tolerance"
"""How the reruns agree with the stored runs, for the provenance."""


@dataclass
class Affected:
    """A stored run whose identity has changed.

    Args:
        study: name of the study.
        run: the run.
        digests: its current identity and the digest of its params' values.
        record: the stored run.
    """

    study: str
    run: Run
    digests: RunDigests
    record: Record


def affected(project: Project) -> list[Affected]:
    """All stored runs of all studies whose identity has changed; missing runs are not among them."""
    found = []
    for name in grid.names():
        store = Store(name)
        for run in grid.all_runs(grid.load(name)):
            record, current = store.record(run), project.digests(run)
            if record and record["identity"] != current.identity:
                found.append(Affected(name, run, current, record))
    return found


def draw(runs: Sequence[Affected]) -> list[Affected]:
    """Draw the sample of runs to rerun: one per method and domain, filled up to `MIN_SAMPLE` runs.

    The order is a digest of all new identities, so nobody can choose the sample.
    """
    lot = digests.of_content(sorted(one.digests.identity for one in runs))
    order = sorted(runs, key=lambda one: digests.of_content([lot, one.digests.identity, one.study, one.run.settings]))
    first = {(one.run.domain, one.run.method): one for one in reversed(order)}
    sample = [one for one in order if one is first[one.run.domain, one.run.method]]
    more = [one for one in order if one not in sample]
    return sample + more[: max(MIN_SAMPLE - len(sample), 0)]


def chance(runs: int, drawn: int, share: float) -> float:
    """Probability that the sample misses a change that affects a random `share` of the runs (hypergeometric)."""
    changed = math.ceil(share * runs)
    return math.comb(runs - changed, drawn) / math.comb(runs, drawn)


class Confirmation:
    """A sample of reruns. The affected runs get their new identity only after every run of the sample was compared.

    Raises:
        UserError: a run was confirmed too often since it was computed.
    """

    def __init__(self, runs: Sequence[Affected], project: Project, made: Mapping[str, Any]) -> None:
        self.runs, self.project, self.made = list(runs), project, made
        often = sorted({one.study for one in runs if one.record["confirmations"] >= MAX_CONFIRMATIONS})
        if often:
            commands = ", ".join(f"`python -m stages.studies.run {name}`" for name in often)
            raise UserError(f"confirmed {MAX_CONFIRMATIONS} times in a row, rerun the studies: {commands}")
        self.sample = draw(runs)
        self.found: dict[int, Metrics] = {}
        self.moved: dict[int, list[str]] = {}
        self.same_machine: dict[int, bool] = {}

    def compare(self, run: Run, metrics: Metrics) -> list[str]:
        """Compare a rerun with the stored run; returns the metrics that differ."""
        number = next(i for i, one in enumerate(self.sample) if one.run is run)
        one = self.sample[number]
        self.same_machine[number] = Store(one.study).made_on(one.record, self.made["machine"])
        self.found[number] = metrics
        self.moved[number] = differences(one.record, one.run, metrics, self.project, exactly=self.same_machine[number])
        return self.moved[number]

    def stamp(self) -> None:
        """Give all affected runs their new identity.

        Raises:
            UserError: a run of the sample was not rerun, or a metric differs.
        """
        left = len(self.sample) - len(self.moved)
        if left:
            raise UserError(f"not confirmed: {left} of {len(self.sample)} runs of the sample were not rerun")
        moved = [(self.sample[i], rows) for i, rows in sorted(self.moved.items()) if rows]
        if moved:
            studies = ", ".join(sorted({one.study for one in self.runs}))
            one, rows = moved[0]
            raise UserError(f"not confirmed: {one.study}: {one.run}: {rows[0]}; stale: {studies}")
        how = EXACTLY if all(self.same_machine.values()) else NEARLY
        for name in sorted({one.study for one in self.runs}):
            study, store = grid.load(name), Store(name)
            with store.changing(grid.all_runs(study)):
                for one in self.runs:
                    if one.study == name:
                        self._renew(store, one)
                store.confirmed = {
                    "commit": self.made["commit"],
                    "machine": store.machine_key(self.made["machine"]),
                    "again": len(self.sample),
                    "of": len(self.runs),
                    "agreed": how,
                }
            # A study with missing runs is published once these are computed.
            if not missing(study, store, self.project):
                publish(name, study, store, self.project)

    def _renew(self, store: Store, one: Affected) -> None:
        """Store the rerun of a run in the sample; give any other run its new identity and list the metrics that it lacks."""
        record = store.record(one.run)
        if record != one.record:
            return  # recomputed in the meantime
        number = next((i for i, drawn in enumerate(self.sample) if drawn is one), None)
        if number is not None:
            store.add(one.run, one.digests, self.found[number], self.made)
            return
        kept = {name for name, _ in flattened(record["metrics"])}
        lacks = {*record.get("lacks", ()), *self._measured(one.run)} - kept
        record |= {"identity": one.digests.identity, "confirmations": record["confirmations"] + 1}
        record |= {"lacks": sorted(lacks)} if lacks else {}

    def _measured(self, run: Run) -> set[str]:
        """The names of all metrics of the reruns with the same method and domain."""
        similar = [i for i, one in enumerate(self.sample) if (one.run.domain, one.run.method) == (run.domain, run.method)]
        return {name for i in similar for name, _ in flattened(self.found[i])}


def confirm(project: Project, backend: Backend, *, only_draw: bool = False) -> None:
    """Draw, rerun and compare a sample of the affected runs, and give all of them their new identity if the sample agrees.

    Raises:
        UserError: a metric differs, a run failed, or a run was confirmed too often.
    """
    all_affected = affected(project)
    runs = [one for one in all_affected if one.record["values"] == one.digests.values]
    changed = [one for one in all_affected if one.record["values"] != one.digests.values]
    if changed:
        which = ", ".join(sorted({one.study for one in changed}))
        print(f"confirm: {len(changed)} runs of {which} have new params: `python -m stages.studies.run NAME` reruns them")
    if not all_affected:
        print("confirm: all stored runs belong to the current code")
    if not runs:
        return
    confirmation = Confirmation(runs, project, provenance())
    sample = confirmation.sample
    studies = sorted({one.study for one in runs})
    print(f"confirm: {len(runs)} runs of {', '.join(studies)} are affected, {len(sample)} of them are rerun:")
    for one in sample:
        print(f"  {one.study}: {one.run}")
    missed = ", ".join(f"{share:.0%} of them: {chance(len(runs), len(sample), share):.2g}" for share in SHARES)
    print(f"confirm: probability of missing a change that affects {missed}", flush=True)
    if only_draw:
        return
    reruns = _Reruns()
    for domain in dict.fromkeys(one.run.domain for one in sample):
        waiting = [one for one in sample if one.run.domain == domain]
        for one in [one for one in waiting if one.digests.identity in reruns.metrics]:
            waiting.remove(one)
            _compare(confirmation, one.run, reruns.metrics[one.digests.identity])
        identities = {one.run.key: one.digests.identity for one in waiting}
        for run, metrics, _ in backend([one.run for one in waiting]):
            reruns.store(identities[run.key], metrics)
            _compare(confirmation, run, metrics)
    reruns.clear()
    confirmation.stamp()
    print(f"confirm: {len(runs)} runs are confirmed")


def _compare(confirmation: Confirmation, run: Run, metrics: Metrics) -> None:
    moved = confirmation.compare(run, metrics)
    print(f"confirm: {run}: {'; '.join(moved) or 'agrees'}", flush=True)


class _Reruns:
    """Stored reruns by identity, so that an interrupted confirmation continues with the same sample."""

    FILE = Path(".checkpoints/confirm.json")

    def __init__(self) -> None:
        self.metrics: dict[str, Metrics] = {}
        with suppress(UserError):
            self.metrics = files.read_json(self.FILE)

    def store(self, identity: str, metrics: Metrics) -> None:
        self.metrics[identity] = metrics
        files.write_json(self.FILE, self.metrics)

    def clear(self) -> None:
        self.FILE.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> None:
    """Confirm the stored runs; exits with status 1 if a metric differs."""
    parser = argparse.ArgumentParser(prog="python -m stages.studies.confirm", description=(__doc__ or " ").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="print the sample and exit")
    options = parser.parse_args(arguments)
    parameters.load()
    project = Project.load()
    confirm(project, here.backend(project), only_draw=options.draw)


if __name__ == "__main__":
    end(main)
