"""Confirmation of stored runs by a sample of reruns: the sample, the comparison, and the new identities."""

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
from tests.test_study import RAW, metric, project  # noqa: F401  # a fixture

METHODS = ["dsm", "ism", "vicreg"]


def measured(run: Run) -> Metrics:
    """Metrics that depend on the method and the seed of a run."""
    return {"heldout_loss": metric(run.settings["seed"] + len(run.method)), "collapse": {"rankme": metric(3)}}


def fake_backend(change: Callable[[Run, Metrics], Metrics] = lambda _, found: found) -> Any:
    """A backend that trains nothing and returns `measured`, modified by a change of the code; `made` lists its runs."""

    def run_all(runs: Sequence[Run]) -> Iterator[Result]:
        for run in runs:
            made.append(run)
            yield Result(run, change(run, measured(run)))

    made: list[Run] = []
    run_all.made = made  # type: ignore[attr-defined]
    return run_all


@pytest.fixture
def studies(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """Two complete studies, with 24 and 12 runs; then the code changes."""
    content = {
        name: {"methods": METHODS, "runs": list(range(4)), "grid": {"mog.train_points": points}, "keep": ["heldout_loss"]}
        for name, points in {"first": [100, 200], "second": [300]}.items()
    }
    Path("studies.yaml").write_text(yaml.safe_dump(content))
    for name in content:
        complete(name, fake_backend())
    refactor(monkeypatch, "first change")
    return project


def refactor(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    """Change the digest of all code."""
    real = code.digest.__wrapped__ if hasattr(code.digest, "__wrapped__") else code.digest

    def changed(name: str, without: Any = ()) -> str:
        return f"{real(name, without)} {label}"

    changed.__wrapped__ = real  # type: ignore[attr-defined]
    monkeypatch.setattr(code, "digest", changed)


def records() -> list[dict[str, Any]]:
    """The stored runs of both studies."""
    return [record for name in ("first", "second") for record in Store(name).records]


def test_a_change_that_affects_no_metric_is_confirmed_and_reported(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now, fake = Project.load(), fake_backend()
    assert len(affected(now)) == 36
    confirm(now, fake)
    # The runs of the sample were rerun, so they count as computed, not as confirmed.
    assert not affected(now) and [record["confirmations"] for record in records()].count(0) == MIN_SAMPLE
    assert {record["confirmations"] for record in records()} == {0, 1}
    assert len(fake.made) == MIN_SAMPLE and {run.method for run in fake.made} == set(METHODS)
    standing = f"of the 36 runs of all studies that the change affects, {MIN_SAMPLE} were rerun and agree to the last digit"
    assert standing in json.loads(Path("reports/studies/first.json").read_text())["standing"]
    assert standing in Path("reports/studies/second.md").read_text()
    assert (
        f"probability of missing a change that affects 10% of them: {chance(36, MIN_SAMPLE, 0.1):.2g}"
        in capsys.readouterr().out
    )
    confirm(now, fake)
    assert len(fake.made) == MIN_SAMPLE


def test_an_interrupted_confirmation_resumes_with_the_same_sample(studies: Path) -> None:
    def interrupted(runs: Sequence[Run]) -> Iterator[Result]:
        for number, run in enumerate(runs):
            if number == 2:
                raise KeyboardInterrupt
            yield Result(run, measured(run))

    drawn = [one.run.key for one in draw(affected(Project.load()))]
    with pytest.raises(KeyboardInterrupt):
        confirm(Project.load(), interrupted)
    fake = fake_backend()
    confirm(Project.load(), fake)
    assert {run.key for run in fake.made} < set(drawn) and len(fake.made) == len(drawn) - 2
    assert not affected(Project.load()) and not list(Path(".checkpoints").iterdir())


def test_a_study_with_missing_runs_is_confirmed_and_published_once_it_is_complete(studies: Path) -> None:
    content = yaml.safe_load(Path("studies.yaml").read_text())
    content["second"]["grid"]["mog.train_points"] = [300, 400]
    Path("studies.yaml").write_text(yaml.safe_dump(content))
    published = Path("reports/studies/second.json")
    before = published.read_text()
    confirm(Project.load(), fake_backend())
    assert not affected(Project.load()) and published.read_text() == before
    fake = fake_backend()
    complete("second", fake)
    assert len(fake.made) == 12 and len(json.loads(published.read_text())["cells"]) == 6


def test_a_changed_metric_of_one_method_prevents_the_confirmation_of_all_runs(studies: Path) -> None:
    def broken(run: Run, found: Metrics) -> Metrics:
        return {**found, "collapse": {"rankme": metric(3.000001)}} if run.method == "ism" else found

    before = records()
    with pytest.raises(UserError, match=r"not confirmed: .*ism with .*: collapse\.rankme: 3 -> 3; stale: first, second"):
        confirm(Project.load(), fake_backend(broken))
    assert records() == before and len(affected(Project.load())) == 36


def test_metrics_that_the_study_does_not_report_are_compared_too(studies: Path) -> None:
    with pytest.raises(UserError, match=r"not confirmed: .*: collapse\.rankme: 3 -> None"):
        confirm(Project.load(), fake_backend(lambda _, found: {"heldout_loss": found["heldout_loss"]}))


def test_a_new_metric_is_no_change_but_reporting_it_causes_reruns(studies: Path) -> None:
    def with_new_metric(run: Run, found: Metrics) -> Metrics:
        return {**found, "new": {"one": metric(1)}} if run.method == "dsm" else found

    fake = fake_backend(with_new_metric)
    confirm(Project.load(), fake)
    assert not affected(Project.load())
    study = yaml.safe_load(Path("studies.yaml").read_text())
    assert not missing(load("first"), Store("first"), Project.load())
    study["first"]["keep"] += ["new.one"]
    Path("studies.yaml").write_text(yaml.safe_dump(study))
    wanted = missing(load("first"), Store("first"), Project.load())
    drawn = {run.key for run in fake.made}
    assert {run.key for run in wanted} == {run.key for run in all_runs(load("first")) if run.method == "dsm"} - drawn
    rerun = fake_backend(with_new_metric)
    complete("first", rerun)
    assert {run.key for run in rerun.made} == {run.key for run in wanted}
    assert not missing(load("first"), Store("first"), Project.load())


def test_on_another_machine_metrics_may_differ_within_the_statistical_tolerance(
    studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.dag.machine.facts", lambda _: {"system": "another"})

    def changed(by: float) -> Callable[[Run, Metrics], Metrics]:
        return lambda _, found: {**found, "collapse": {"rankme": metric(3 + by)}}

    with pytest.raises(UserError, match=r"collapse\.rankme: 3 -> 6, changed by 3, tolerance 2"):
        confirm(Project.load(), fake_backend(changed(3)))
    confirm(Project.load(), fake_backend(changed(0.5)))
    assert "agree within the statistical tolerance" in Store("first").standing()


def test_runs_keep_their_identity_until_the_whole_sample_was_rerun(studies: Path) -> None:
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


def test_runs_must_be_rerun_after_the_maximum_number_of_confirmations(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MAX_CONFIRMATIONS):
        refactor(monkeypatch, str(number))
        confirm(Project.load(), fake_backend())
    assert f"{MAX_CONFIRMATIONS} confirmations in a row" in Store("first").standing()
    refactor(monkeypatch, "one too many")
    with pytest.raises(UserError, match=r"5 times in a row, .*: `python -m stages\.studies\.run first`, `python"):
        confirm(Project.load(), fake_backend())
    complete("first", fake_backend())
    complete("second", fake_backend())
    assert {record["confirmations"] for record in records()} == {0}
    refactor(monkeypatch, "after the rerun")
    confirm(Project.load(), fake_backend())


def test_the_sample_has_only_runs_that_the_change_affects(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confirm(Project.load(), fake_backend())
    real = identity.code_identity
    monkeypatch.setattr(identity, "code_identity", lambda domain, method: real(domain, method) + "!" * (method == "vicreg"))
    fake = fake_backend()
    confirm(Project.load(), fake)
    assert {run.method for run in fake.made} == {"vicreg"} and len(fake.made) == MIN_SAMPLE


def test_runs_with_a_changed_param_value_are_not_confirmed(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs with a changed param value must be rerun, however small the effect; the other affected runs are confirmed."""
    Path("params.yaml").write_text(yaml.safe_dump({**RAW, "vicreg": {**RAW["vicreg"], "variance": 20.0}}))
    assert {one.run.method for one in affected(Project.load())} == set(METHODS)
    fake = fake_backend()
    confirm(Project.load(), fake)
    assert "confirm: 12 runs of first, second have new params" in capsys.readouterr().out
    assert {run.method for run in fake.made} == {"dsm", "ism"}
    assert {run.method for run in missing(load("first"), Store("first"), Project.load())} == {"vicreg"}
    confirm(Project.load(), fake_backend())
    assert "all stored runs belong" not in capsys.readouterr().out


def test_a_renamed_param_can_be_confirmed(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = identity.params
    monkeypatch.setattr(
        identity, "params", lambda *given: {key.replace("seed", "start"): value for key, value in real(*given).items()}
    )
    assert len(affected(Project.load())) == 36
    confirm(Project.load(), fake_backend())
    assert not affected(Project.load())


def test_a_confirmation_does_not_add_missing_runs(studies: Path) -> None:
    store, study = Store("second"), load("second")
    removed = all_runs(study)[0]
    with store.changing(all_runs(study)):
        store.records = [record for record in store.records if record is not store.record(removed)]
    confirm(Project.load(), fake_backend())
    assert missing(study, Store("second"), Project.load()) == [removed]


def entry(method: str, seed: int, domain: Any = "mog", code_digest: str = "") -> Affected:
    """An affected run whose new identity depends on its code, method, seed and domain."""
    return Affected("some", Run(domain, method, {"seed": seed}), RunDigests(f"{code_digest}{method}{seed}{domain}", ""), {})


def test_the_sample_depends_on_the_identities_and_covers_methods_and_domains() -> None:
    runs = [entry(method, seed, domain) for method in METHODS for seed in range(20) for domain in ("mog", "mnist")]
    sample = draw(runs)
    assert {(one.run.domain, one.run.method) for one in sample} == {(one.run.domain, one.run.method) for one in runs}
    assert draw(runs[::-1]) == sample
    other = draw([entry(one.run.method, one.run.settings["seed"], one.run.domain, "other code ") for one in runs])
    assert [one.run for one in other] != [one.run for one in sample]
    # Over many versions of the code, all runs of a method are drawn about equally often.
    drawn = [
        one.run.settings["seed"]
        for code in range(400)
        for one in draw([entry("dsm", seed, "mog", str(code)) for seed in range(20)])
    ]
    assert all(60 < drawn.count(seed) < 145 for seed in range(20))


def test_the_probability_of_missing_a_change_is_hypergeometric() -> None:
    assert chance(10, 3, 0.2) == pytest.approx(math.prod((8 - i) / (10 - i) for i in range(3)))
    assert chance(10, 10, 0.1) == 0
    assert chance(10, 1, 1.0) == 0
