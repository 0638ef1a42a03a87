"""State of a study: whether its stored runs are all there and belong to the current code and params.

A study is *incomplete* if a run is not stored, or was stored before a metric that the study reports now; *outdated* if it is
complete, but some runs have another identity now (identity.py); else *current*. The state is computed from the stored runs,
studies.yaml, the params and the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from stages.config.claims import Claims
from stages.pipeline.lookup import look_up
from stages.studies.grid import Run, Study, all_runs, cells, runs
from stages.studies.identity import RunDigests
from stages.studies.store import Record, Store


@dataclass
class State:
    """The runs of a study by what the store has of them.

    Args:
        runs: all runs of the study.
        absent: those that are not stored, or lack a reported metric.
        outdated: those that have another identity now, and their records.
        other_params: the outdated runs whose params had other values; the code may differ too.
    """

    runs: list[Run]
    absent: list[Run] = field(default_factory=list)
    outdated: list[tuple[Run, Record]] = field(default_factory=list)
    other_params: list[Run] = field(default_factory=list)

    @property
    def name(self) -> str:
        """`incomplete`, `outdated` or `current`."""
        return "incomplete" if self.absent else "outdated" if self.outdated else "current"

    @property
    def missing(self) -> list[Run]:
        """The runs that make the study current, in the order of the study."""
        older = [run for run, _ in self.outdated]
        return [run for run in self.runs if run in self.absent or run in older]

    @property
    def commits(self) -> list[str]:
        """The commits that computed the outdated runs, in the order of the runs."""
        return list(dict.fromkeys(record["commit"] for _, record in self.outdated))

    @property
    def counts(self) -> dict[str, Any]:
        """The fields `incomplete` and `outdated` of the published study; empty if it is current."""
        found: dict[str, Any] = {}
        if self.absent:
            found["incomplete"] = {"runs": len(self.absent), "of": len(self.runs)}
        if self.outdated:
            found["outdated"] = {"runs": len(self.outdated), "of": len(self.runs), "commits": self.commits}
            found["outdated"] |= {"other_params": len(self.other_params)} if self.other_params else {}
        return found

    def notices(self, study: str) -> Iterator[str]:
        """What a reader of the study of that name must know, one sentence each; none if it is current."""
        command, of = f"`python -m stages.studies.run {study}`", len(self.runs)
        if self.absent:
            count = len(self.absent)
            verb, what = ("is", "lacks") if count == 1 else ("are", "lack")
            yield f"{count} of {of} runs {verb} missing or {what} a reported metric; {command} computes {_them(count)}."
        if self.outdated:
            count, changed, commits = len(self.outdated), len(self.other_params), self.commits
            params = f" or, {changed} of them, with other params of the pipeline" if changed else ""
            *first, last = commits
            where = f"at commits {', '.join(first)} and {last}" if first else f"at commit {last}"
            verb = "was" if count == 1 else "were"
            yield f"{count} of {of} runs {verb} computed by earlier code{params}, {where}; {command} renews {_them(count)}."


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def state_of(study: Study, store: Store, digests: Callable[[Run], RunDigests]) -> State:
    """The state of a study.

    Args:
        study: its declaration.
        store: its stored runs.
        digests: the current identity of a run and the digest of its params' values.
    """
    found = State(all_runs(study))
    records = [record for run in found.runs if (record := store.record(run))]
    reported = {key for record in records for key in _measured(record, study)}
    for method, settings in cells(study):
        stored = [(run, store.record(run)) for run in runs(study, method, settings)]
        in_cell = {key for _, record in stored if record for key in _measured(record, study)}
        # Which metrics an outdated run would have is unknown, except those of the other runs of its cell and new ones.
        needed = in_cell | (set(study.keep) - reported)
        for run, record in stored:
            now = digests(run)
            outdated = record is not None and record["identity"] != now.identity
            if record is None or _lacks(record, study) or (outdated and needed - _measured(record, study)):
                found.absent.append(run)
            elif outdated:
                found.outdated.append((run, record))
                found.other_params += [run] if record["values"] != now.values else []
    return found


def _measured(record: Record, study: Study) -> set[str]:
    """The reported metrics that a record has."""
    return {key for key in study.keep if look_up(record["metrics"], key) is not None}


def _lacks(record: Record, study: Study) -> bool:
    """Whether a confirmed record lacks a reported metric that was introduced since."""
    return any(f"{name}.".startswith(f"{key}.") for name in record.get("lacks", ()) for key in study.keep)


def claimed(claims: Claims) -> set[str]:
    """The studies that claims name: they decide a claim, or change its verdict. They must be current."""
    deciding = {criterion.study for claim in claims.criteria.values() for criterion in claim.decided_by if criterion.study}
    return deciding | {study for claim in claims.criteria.values() for study in claim.turns_in}
