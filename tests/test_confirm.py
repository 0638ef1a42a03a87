"""Confirmation by a sample: what is drawn, what is compared, and that there is no stamp without the runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.core.errors import UserError
from stages.studies import code, identity
from stages.studies.confirm import MAX_CONFIRMATIONS, MIN_SAMPLE, Affected, Confirmation, affected, chance, confirm, draw
from stages.studies.engine import Metrics, Project, Result, complete, missing
from stages.studies.grid import Run, all_runs, load
from stages.studies.identity import RunDigests
from stages.studies.store import Store, provenance
from tests.test_study import RAW, figure, project  # noqa: F401  # a fixture

SIGMAS = [0.3, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
METHODS = ["dsm", "ism", "vicreg"]


def measured(run: Run) -> Metrics:
    return {"heldout_loss": figure(run.settings["seed"] + len(run.method)), "collapse": {"rankme": figure(3)}}


def place(change: Callable[[Run, Metrics], Metrics] = lambda _, found: found) -> Any:
    """A place that measures by the method and the seed, and what a change of the code makes of it."""

    def run_all(runs: Sequence[Run]) -> Iterator[Result]:
        for run in runs:
            made.append(run)
            yield Result(run, change(run, measured(run)))

    made: list[Run] = []
    run_all.made = made  # type: ignore[attr-defined]
    return run_all


@pytest.fixture
def studies(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """Two studies that were made, with the code as it was; then the code is another."""
    content = {
        name: {"methods": METHODS, "runs": list(range(4)), "grid": {"mog.train_points": points}, "keep": ["heldout_loss"]}
        for name, points in {"first": [100, 200], "second": [300]}.items()
    }
    Path("studies.yaml").write_text(yaml.safe_dump(content))
    for name in content:
        complete(name, place())
    refactor(monkeypatch, "once")
    return project


def refactor(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Give all code another digest."""
    real = code.digest.__wrapped__ if hasattr(code.digest, "__wrapped__") else code.digest

    def other(name: str, without: Any = ()) -> str:
        return f"{real(name, without)} {how}"

    other.__wrapped__ = real  # type: ignore[attr-defined]
    monkeypatch.setattr(code, "digest", other)


def records() -> list[dict[str, Any]]:
    return [record for name in ("first", "second") for record in Store(name).records]


def test_a_change_that_changes_no_number_is_confirmed_and_says_so(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now, somewhere = Project.load(), place()
    assert len(affected(now)) == 36
    confirm(now, somewhere)
    # Those of the sample were made.
    assert not affected(now) and [record["confirmations"] for record in records()].count(0) == MIN_SAMPLE
    assert {record["confirmations"] for record in records()} == {0, 1}
    assert len(somewhere.made) == MIN_SAMPLE and {run.method for run in somewhere.made} == set(METHODS)
    said = f"of the 36 runs of all studies that the change affects, {MIN_SAMPLE} were rerun and agree to the last digit"
    assert said in json.loads(Path("reports/studies/first.json").read_text())["standing"]
    assert said in Path("reports/studies/second.md").read_text()
    assert (
        f"probability of missing a change that affects 10% of them: {chance(36, MIN_SAMPLE, 0.1):.2g}"
        in capsys.readouterr().out
    )
    confirm(now, somewhere)
    assert len(somewhere.made) == MIN_SAMPLE


def test_one_that_was_stopped_goes_on_with_the_same_sample(studies: Path) -> None:
    def stopped(runs: Sequence[Run]) -> Iterator[Result]:
        for number, run in enumerate(runs):
            if number == 2:
                raise KeyboardInterrupt
            yield Result(run, measured(run))

    drawn = [one.run.key for one in draw(affected(Project.load()))]
    with pytest.raises(KeyboardInterrupt):
        confirm(Project.load(), stopped)
    somewhere = place()
    confirm(Project.load(), somewhere)
    assert {run.key for run in somewhere.made} < set(drawn) and len(somewhere.made) == len(drawn) - 2
    assert not affected(Project.load()) and not list(Path(".checkpoints").iterdir())


def test_a_real_change_of_one_method_is_caught_and_nothing_is_stamped(studies: Path) -> None:
    def broken(run: Run, found: Metrics) -> Metrics:
        return {**found, "collapse": {"rankme": figure(3.000001)}} if run.method == "ism" else found

    before = records()
    with pytest.raises(UserError, match=r"not confirmed: .*ism with .*: collapse\.rankme: 3 -> 3; stale: first, second"):
        confirm(Project.load(), place(broken))
    assert records() == before and len(affected(Project.load())) == 36


def test_what_no_cell_keeps_is_compared_too(studies: Path) -> None:
    with pytest.raises(UserError, match=r"not confirmed: .*: collapse\.rankme: 3 -> None"):
        confirm(Project.load(), place(lambda _, found: {"heldout_loss": found["heldout_loss"]}))


def test_a_new_metric_is_no_change_and_who_keeps_it_has_the_runs_that_lack_it_made(studies: Path) -> None:
    def measuring_more(run: Run, found: Metrics) -> Metrics:
        return {**found, "new": {"one": figure(1)}} if run.method == "dsm" else found

    somewhere = place(measuring_more)
    confirm(Project.load(), somewhere)
    assert not affected(Project.load())
    study = yaml.safe_load(Path("studies.yaml").read_text())
    assert not missing(load("first"), Store("first"), Project.load())
    study["first"]["keep"] += ["new.one"]
    Path("studies.yaml").write_text(yaml.safe_dump(study))
    wanted = missing(load("first"), Store("first"), Project.load())
    drawn = {run.key for run in somewhere.made}
    assert {run.key for run in wanted} == {run.key for run in all_runs(load("first")) if run.method == "dsm"} - drawn
    again = place(measuring_more)
    complete("first", again)
    assert {run.key for run in again.made} == {run.key for run in wanted}
    assert not missing(load("first"), Store("first"), Project.load())


def test_on_another_machine_a_figure_may_move_by_what_chance_explains(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.dag.machine.facts", lambda _: {"system": "another"})

    def moved(by: float) -> Callable[[Run, Metrics], Metrics]:
        return lambda _, found: {**found, "collapse": {"rankme": figure(3 + by)}}

    with pytest.raises(UserError, match=r"collapse\.rankme: 3 -> 6, changed by 3, tolerance 2"):
        confirm(Project.load(), place(moved(3)))
    confirm(Project.load(), place(moved(0.5)))
    assert "agree within the statistical tolerance" in Store("first").standing()


def test_there_is_no_stamp_without_the_runs(studies: Path) -> None:
    now = Project.load()
    confirmation = Confirmation(affected(now), now, provenance())
    with pytest.raises(UserError, match=f"{MIN_SAMPLE} of {MIN_SAMPLE} runs of the sample were not rerun"):
        confirmation.stamp()
    for one in confirmation.sample[:-1]:
        assert not confirmation.compare(one.run, measured(one.run))
    with pytest.raises(UserError, match=f"1 of {MIN_SAMPLE} runs of the sample were not rerun"):
        confirmation.stamp()
    with pytest.raises(StopIteration):
        confirmation.compare(next(one.run for one in confirmation.runs if one not in confirmation.sample), {})
    assert not any(record["confirmations"] for record in records())


def test_after_so_many_in_a_row_the_runs_have_to_be_made(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MAX_CONFIRMATIONS):
        refactor(monkeypatch, str(number))
        confirm(Project.load(), place())
    assert f"{MAX_CONFIRMATIONS} confirmations in a row" in Store("first").standing()
    refactor(monkeypatch, "again")
    with pytest.raises(UserError, match=r"5 times in a row, .*: `python -m stages\.studies\.run first`, `python"):
        confirm(Project.load(), place())
    complete("first", place())
    complete("second", place())
    assert {record["confirmations"] for record in records()} == {0}
    refactor(monkeypatch, "and again")
    confirm(Project.load(), place())


def test_only_what_the_change_concerns_is_drawn(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm(Project.load(), place())
    real = identity.code_identity
    monkeypatch.setattr(identity, "code_identity", lambda domain, method: real(domain, method) + "!" * (method == "vicreg"))
    somewhere = place()
    confirm(Project.load(), somewhere)
    assert {run.method for run in somewhere.made} == {"vicreg"} and len(somewhere.made) == MIN_SAMPLE


def test_another_value_of_a_param_is_no_refactoring(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However little it moves the figures: the runs have to be made, and those that a refactoring concerns are confirmed."""
    Path("params.yaml").write_text(yaml.safe_dump({**RAW, "vicreg": {**RAW["vicreg"], "variance": 20.0}}))
    assert {one.run.method for one in affected(Project.load())} == set(METHODS)
    somewhere = place()
    confirm(Project.load(), somewhere)
    assert "confirm: 12 runs of first, second have new params" in capsys.readouterr().out
    assert {run.method for run in somewhere.made} == {"dsm", "ism"}
    assert {run.method for run in missing(load("first"), Store("first"), Project.load())} == {"vicreg"}
    confirm(Project.load(), place())
    assert "all stored runs belong" not in capsys.readouterr().out


def test_a_param_by_another_name_is_a_refactoring(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = identity.params
    monkeypatch.setattr(
        identity, "params", lambda *given: {key.replace("seed", "start"): value for key, value in real(*given).items()}
    )
    assert len(affected(Project.load())) == 36
    confirm(Project.load(), place())
    assert not affected(Project.load())


def test_what_is_missing_stays_missing(studies: Path) -> None:
    store, study = Store("second"), load("second")
    gone = all_runs(study)[0]
    with store.changing(all_runs(study)):
        store.records = [record for record in store.records if record is not store.record(gone)]
    confirm(Project.load(), place())
    assert missing(study, Store("second"), Project.load()) == [gone]


def entry(method: str, seed: int, domain: Any = "mog", code_digest: str = "") -> Affected:
    return Affected("some", Run(domain, method, {"seed": seed}), RunDigests(f"{code_digest}{method}{seed}{domain}", ""), {})


def test_the_sample_follows_the_new_identities_and_has_every_method_of_every_world() -> None:
    runs = [entry(method, seed, domain) for method in METHODS for seed in range(20) for domain in ("mog", "mnist")]
    sample = draw(runs)
    assert {(one.run.domain, one.run.method) for one in sample} == {(one.run.domain, one.run.method) for one in runs}
    assert draw(runs[::-1]) == sample
    other = draw([entry(one.run.method, one.run.settings["seed"], one.run.domain, "other code ") for one in runs])
    assert [one.run for one in other] != [one.run for one in sample]
    # Over many codes every run is drawn as often as the others of its method.
    drawn = [
        one.run.settings["seed"]
        for code in range(400)
        for one in draw([entry("dsm", seed, "mog", str(code)) for seed in range(20)])
    ]
    assert all(60 < drawn.count(seed) < 145 for seed in range(20))


def test_the_chance_to_miss_a_change_is_that_of_drawing_without_it() -> None:
    assert chance(10, 3, 0.2) == pytest.approx(math.prod((8 - i) / (10 - i) for i in range(3)))
    assert chance(10, 10, 0.1) == 0
    assert chance(10, 1, 1.0) == 0
