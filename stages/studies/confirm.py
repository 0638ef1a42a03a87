"""`make confirm`: show by a sample of runs that a change of the code changed no number.

    python -m stages.studies.confirm [--draw]

A refactoring changes the identity of runs (identity.py) and should change no metric. This makes a sample of the runs concerned
again, compares all that they measure with what is kept, and where everything agrees gives all of them their new identity. On a
machine like the one that made a run the metrics have to be equal to the last digit; elsewhere a figure may move by what chance
explains (results/tolerance.py).

Of every method in every domain at least one run is drawn, by a digest of the new identities: who changes the code cannot choose
which. What is made for it takes the place of what was kept. A run that was confirmed `IN_A_ROW` times since it was made has to
be made again, and so has one with another value of a param. `--draw` only says what would be made.
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
from stages.results.tolerance import figures
from stages.studies import grid, here
from stages.studies.engine import Metrics, Place, Project, differences, publish
from stages.studies.grid import Run
from stages.studies.identity import Decided
from stages.studies.store import Record, Store
from stages.studies.store import here as made_here

IN_A_ROW = 5
"""How often a run may be confirmed before it has to be made again."""
LEAST = 5
"""Runs that are drawn at least, where there are so many."""
SHARES = (0.1, 0.25, 0.5)
"""Shares of changed runs for which the chance that none of them is drawn is printed."""
EXACTLY, NEARLY = "to the last digit", "within what chance explains"


@dataclass
class Affected:
    """A run whose metrics are kept under another identity than it has now.

    Args:
        study: its name.
        run: what it is.
        decided: what decides it now.
        record: what is kept of it.
    """

    study: str
    run: Run
    decided: Decided
    record: Record


def affected(project: Project) -> list[Affected]:
    """All runs of all studies that are kept and were made by other code or params; what is not there is not among them."""
    found = []
    for name in grid.names():
        store = Store(name)
        for run in grid.all_runs(grid.load(name)):
            record, by = store.record(run), project.decided(run)
            if record and record["identity"] != by.identity:
                found.append(Affected(name, run, by, record))
    return found


def draw(runs: Sequence[Affected]) -> list[Affected]:
    """Draw the sample of runs to repeat: one per method and domain, filled up to `LEAST` runs.

    The order is a digest of all new identities, so nobody can choose the sample.
    """
    lot = digests.of_content(sorted(one.decided.identity for one in runs))
    order = sorted(runs, key=lambda one: digests.of_content([lot, one.decided.identity, one.study, one.run.settings]))
    first = {(one.run.domain, one.run.method): one for one in reversed(order)}
    sample = [one for one in order if one is first[one.run.domain, one.run.method]]
    more = [one for one in order if one not in sample]
    return sample + more[: max(LEAST - len(sample), 0)]


def chance(runs: int, drawn: int, share: float) -> float:
    """Probability that the sample misses a change that affects a random `share` of the runs (hypergeometric)."""
    changed = math.ceil(share * runs)
    return math.comb(runs - changed, drawn) / math.comb(runs, drawn)


class Confirmation:
    """A sample that is made again: it stamps what it confirms only once every run of it has been compared.

    Raises:
        UserError: a run was confirmed too often since it was made.
    """

    def __init__(self, runs: Sequence[Affected], project: Project, made: Mapping[str, Any]) -> None:
        self.runs, self.project, self.made = list(runs), project, made
        often = sorted({one.study for one in runs if one.record["confirmations"] >= IN_A_ROW})
        if often:
            commands = ", ".join(f"`python -m stages.studies.run {name}`" for name in often)
            raise UserError(f"confirmed {IN_A_ROW} times in a row, now their runs have to be made again: {commands}")
        self.sample = draw(runs)
        self.found: dict[int, Metrics] = {}
        self.moved: dict[int, list[str]] = {}
        self.same_machine: dict[int, bool] = {}

    def compare(self, run: Run, metrics: Metrics) -> list[str]:
        """Compare a run of the sample that was made; returns what moved."""
        number = next(i for i, one in enumerate(self.sample) if one.run is run)
        one = self.sample[number]
        self.same_machine[number] = Store(one.study).made_on(one.record, self.made["machine"])
        self.found[number] = metrics
        self.moved[number] = differences(one.record, one.run, metrics, self.project, exactly=self.same_machine[number])
        return self.moved[number]

    def stamp(self) -> None:
        """Give all runs that the change concerns their new identity.

        Raises:
            UserError: a run of the sample was not made, or a figure moved.
        """
        left = len(self.sample) - len(self.moved)
        if left:
            raise UserError(f"not confirmed: {left} of {len(self.sample)} runs of the sample were not made")
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
                    "machine": store.known(self.made["machine"]),
                    "again": len(self.sample),
                    "of": len(self.runs),
                    "agreed": how,
                }
            publish(name, study, store, self.project)

    def _renew(self, store: Store, one: Affected) -> None:
        """Keep a run of the sample as it was made now; give another one its new identity, and the names of what it lacks."""
        record = store.record(one.run)
        if record != one.record:
            return  # it has been made since
        number = next((i for i, drawn in enumerate(self.sample) if drawn is one), None)
        if number is not None:
            store.add(one.run, one.decided, self.found[number], self.made)
            return
        kept = {name for name, _ in figures(record["metrics"])}
        lacks = {*record.get("lacks", ()), *self._measured(one.run)} - kept
        record |= {"identity": one.decided.identity, "confirmations": record["confirmations"] + 1}
        record |= {"lacks": sorted(lacks)} if lacks else {}

    def _measured(self, run: Run) -> set[str]:
        """The names of all figures that were measured of its method in its domain."""
        like = [i for i, one in enumerate(self.sample) if (one.run.domain, one.run.method) == (run.domain, run.method)]
        return {name for i in like for name, _ in figures(self.found[i])}


def confirm(project: Project, place: Place, *, only_draw: bool = False) -> None:
    """Draw, make and compare a sample of the runs that a change concerns, and stamp them all where it agrees.

    Raises:
        UserError: a figure moved, a run failed, or was confirmed too often.
    """
    concerned = affected(project)
    runs = [one for one in concerned if one.record["values"] == one.decided.values]
    changed = [one for one in concerned if one.record["values"] != one.decided.values]
    if changed:
        which = ", ".join(sorted({one.study for one in changed}))
        print(f"confirm: {len(changed)} runs of {which} have other params now: `python -m stages.studies.run NAME` makes them")
    if not concerned:
        print("confirm: every run that is kept was made, or confirmed, with the code that there is")
    if not runs:
        return
    confirmation = Confirmation(runs, project, made_here())
    sample = confirmation.sample
    studies = sorted({one.study for one in runs})
    print(f"confirm: {len(runs)} runs of {', '.join(studies)} are concerned, {len(sample)} of them are made again:")
    for one in sample:
        print(f"  {one.study}: {one.run}")
    missed = ", ".join(f"{share:.0%} of them: {chance(len(runs), len(sample), share):.2g}" for share in SHARES)
    print(f"confirm: the chance to miss a change that concerns {missed}", flush=True)
    if only_draw:
        return
    made = _Made()
    for domain in dict.fromkeys(one.run.domain for one in sample):
        waiting = [one for one in sample if one.run.domain == domain]
        for one in [one for one in waiting if one.decided.identity in made.metrics]:
            waiting.remove(one)
            _compare(confirmation, one.run, made.metrics[one.decided.identity])
        identities = {one.run.key: one.decided.identity for one in waiting}
        for run, metrics, _ in place([one.run for one in waiting]):
            made.keep(identities[run.key], metrics)
            _compare(confirmation, run, metrics)
    made.forget()
    confirmation.stamp()
    print(f"confirm: {len(runs)} runs are confirmed")


def _compare(confirmation: Confirmation, run: Run, metrics: Metrics) -> None:
    moved = confirmation.compare(run, metrics)
    print(f"confirm: {run}: {'; '.join(moved) or 'agrees'}", flush=True)


class _Made:
    """What was made of samples so far, by identity: one that was stopped goes on, with the same sample."""

    FILE = Path(".checkpoints/confirm.json")

    def __init__(self) -> None:
        self.metrics: dict[str, Metrics] = {}
        with suppress(UserError):
            self.metrics = files.read_json(self.FILE)

    def keep(self, identity: str, metrics: Metrics) -> None:
        self.metrics[identity] = metrics
        files.write_json(self.FILE, self.metrics)

    def forget(self) -> None:
        self.FILE.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> None:
    """Confirm the runs that are kept; status 1 where a figure moved."""
    parser = argparse.ArgumentParser(prog="python -m stages.studies.confirm", description=(__doc__ or " ").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="say what would be made again, and stop")
    options = parser.parse_args(arguments)
    parameters.load()
    project = Project.load()
    confirm(project, here.place(project), only_draw=options.draw)


if __name__ == "__main__":
    end(main)
