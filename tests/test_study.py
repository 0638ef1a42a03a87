"""Studies: cells and runs, execution, storage, reports, and the committed results."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config import mixture as mixtures
from stages.config import params
from stages.config.claims import load as load_claims
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.dag import machine
from stages.pipeline.lookup import look_up
from stages.results.targets import KNN
from stages.studies.confirm import confirm
from stages.studies.engine import (
    Metrics,
    Project,
    Result,
    assembled,
    complete,
    content,
    differences,
    over_runs,
    publish_changed,
    report,
    states,
    study_of_day,
)
from stages.studies.finding import changed
from stages.studies.grid import Run, Study, all_runs, cells, load, preset, with_settings
from stages.studies.here import backend, measure
from stages.studies.identity import RunDigests
from stages.studies.report import OUTDATED, description, draw, headline, markdown, with_verdicts
from stages.studies.state import State, claimed, state_of
from stages.studies.store import Store
from stages.tools import blocks
from stages.tools.small import PARAMS as SMALL
from stages.tools.small import merged, write_digits
from tests import small

CLAIMS = load_claims(ROOT / "claims.yaml")
MIXTURES: dict[str, Any] = yaml.safe_load((ROOT / "mixtures.yaml").read_text())
RAW: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
STUDIES = list(yaml.safe_load((ROOT / "studies.yaml").read_text()))
TINY = merged(
    RAW,
    {
        "seeds": 2,
        "threads": 1,
        "mog": {
            "train_points": 100,
            "test_points": 80,
            "snapshots": 3,
            "evaluation": {"grid": 12, "structure_points": 40, "walk_points": 3},
        },
        "langevin": {"particles": 20, "steps": 5, "frames": 3},
        "dsm": {"train": {"steps": 5, "batch_size": 16, "warmup": 1}},
    },
)


def example(**changes: Any) -> Study:
    """A study of dsm with two varied params and these changes."""
    grid = {"dsm.sigma": [0.3, 0.5], "dsm.train.steps": [4, 5]}
    return Study.model_validate({"methods": ["dsm"], "grid": grid, "keep": ["heldout_loss", "absent"], **changes})


def test_cells_are_all_combinations_of_the_grid_for_every_method() -> None:
    found = list(cells(example(methods=["dsm", "ism"])))
    assert len(found) == 8 and found[1] == ("dsm", {"dsm.sigma": 0.3, "dsm.train.steps": 5})


def test_cells_can_be_listed_with_their_methods_and_metrics() -> None:
    cases = [
        {"method": "dsm", "settings": {"dsm.sigma": 1.0}, "shows": {"a": "higher", "b": "alike"}},
        {"method": "ism", "settings": {"mog.preset": "ring"}, "shows": {"b": "lower", "c": "lower"}},
    ]
    study = Study.model_validate({"cases": cases})
    assert (study.methods, study.keep) == (["dsm", "ism"], ["a", "b", "c"])
    assert list(cells(study)) == [("dsm", {"dsm.sigma": 1.0}), ("ism", {"mog.preset": "ring"})]
    for wrong in ({"cases": cases, "methods": ["dsm"]}, {"methods": ["dsm"]}, {}):
        with pytest.raises(ValueError, match=r"either `cases`, or `methods` and `keep`|Field required"):
            Study.model_validate(wrong)


def test_a_setting_changes_only_its_param() -> None:
    changed = with_settings(RAW, {"dsm.sigma": 0.1})
    assert changed["dsm"].pop("sigma") == 0.1
    assert changed == {**RAW, "dsm": {k: v for k, v in RAW["dsm"].items() if k != "sigma"}}


def test_a_setting_of_an_unknown_param_is_rejected() -> None:
    with pytest.raises(UserError, match=r"there is no param dsm\.sgima"):
        with_settings(RAW, {"dsm.sgima": 1})


def test_an_unknown_or_invalid_study_is_rejected_with_its_name_and_key(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'nothing' is not a study of .*: expected one of ablation, ablation_ring, batch"):
        load("nothing", ROOT / "studies.yaml")
    file = tmp_path / "studies.yaml"
    file.write_text("bad: {methods: [dsm], grid: {seeds: []}, keep: [x]}")
    with pytest.raises(UserError, match=r"bad\.grid\.seeds: "):
        load("bad", file)


def test_a_run_on_the_mixture_returns_metrics_that_decide_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    found = measure(Run("mog", "dsm", {"dsm.sigma": 0.4}), Project(TINY, MIXTURES))
    assert len(found["heldout_loss"]["values"]) == 2 and found["score"]["relative_fisher_error"]["mean"] > 0
    cell = {"method": "dsm", "settings": {"dsm.sigma": 0.4}, "metrics": found}
    (decided,) = with_verdicts(example(claims=True), [cell], CLAIMS)
    assert decided["claims"]["learns_score"]["verdict"] == "fails"
    assert decided["claims"]["masked_prediction"]["verdict"] == "not applicable"


def image_params(folder: Path) -> dict[str, Any]:
    """The params of the small pipeline with scikit-learn's digits, written to the folder, as the data set."""
    dataset = {
        "title": "digits",
        "side": 28,
        "channels": 1,
        "perturbations": {},
        "digits": True,
        "sources": [{"kind": "folder", "location": str(folder / "digits")}],
        "digests": write_digits(folder / "digits"),
    }
    return merged(RAW, merged(SMALL, {"mnist": {"datasets": {"enlarged": dataset}}}))


def test_a_cell_on_images_aggregates_the_metrics_of_its_runs(tmp_path: Path) -> None:
    study = Study.model_validate(
        {
            "domain": "mnist",
            "methods": ["contrastive"],
            "settings": {"mnist.validation_images": 0, "mnist_{method}.train.steps": 3},
            "runs": [0, 1],
            "keep": ["knn.accuracy", "knn_validation.accuracy"],
        }
    )
    runs = all_runs(study)
    assert [run.settings for run in runs] == [
        {"mnist.validation_images": 0, "mnist_contrastive.train.steps": 3, "seed": seed} for seed in (0, 1)
    ]
    found = dict(
        zip((0, 1), (metrics for _, metrics, _ in backend(Project(image_params(tmp_path), MIXTURES))(runs)), strict=True)
    )
    accuracy = over_runs([found[seed]["knn"]["accuracy"] for seed in (0, 1)])
    assert len(accuracy["values"]) == 2 and accuracy["std"] > 0 and "knn_validation" not in found[0]


def test_a_reconstruction_run_trains_an_encoder_from_scratch(tmp_path: Path) -> None:
    run = Run("mnist_reconstruct", "contrastive", {"mnist_reconstruct.encoder": "scratch"})
    found = measure(run, Project(image_params(tmp_path), MIXTURES))
    assert 0 < found["mse"]["mean"] < 0.2 and -1 < found["clean"]["ssim"]["mean"] < 1


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with the project's settings and a study of three cells; it is the working directory of the test."""
    for name in ("params.yaml", "mixtures.yaml", "claims.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    study = {"methods": ["dsm"], "grid": {"dsm.sigma": [0.3, 0.5, 1.0]}, "keep": ["heldout_loss"]}
    (tmp_path / "studies.yaml").write_text(yaml.safe_dump({"some": study}))
    monkeypatch.chdir(tmp_path)
    small.run(tmp_path, "git", "init", "--quiet")
    small.run(tmp_path, "git", "add", "--all")
    small.run(tmp_path, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=some")
    monkeypatch.setattr("stages.dag.machine.facts", lambda _: {"system": "test machine"})
    return tmp_path


@dataclass
class FakeBackend:
    """A backend that trains nothing.

    Args:
        losses: the held-out loss of each run by its sigma; an exception is raised instead.
        machine: the facts of the machine that the results claim; None for this machine.
        ran: the sigmas of the executed runs.
    """

    losses: Mapping[float, float | BaseException]
    machine: Mapping[str, str] | None = None
    ran: list[float] = field(default_factory=list)

    def __call__(self, runs: Sequence[Run]) -> Iterator[Result]:
        for run in runs:
            sigma = run.settings["dsm.sigma"]
            self.ran.append(sigma)
            loss = self.losses[sigma]
            if isinstance(loss, BaseException):
                raise loss
            yield Result(run, {"heldout_loss": metric(loss), "score": {"relative_fisher_error": metric(sigma)}}, self.machine)


def stored_runs() -> list[dict[str, Any]]:
    """The stored runs of the study in the working directory."""
    runs: list[dict[str, Any]] = json.loads(Path("reports/studies/runs/some.json").read_text())["runs"]
    return runs


def test_an_interrupted_study_resumes_with_its_missing_runs(project: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: KeyboardInterrupt()}))
    assert len(stored_runs()) == 2
    fake = FakeBackend({1.0: 1})
    complete("some", fake)
    assert fake.ran == [1.0] and len(stored_runs()) == 3
    cells = json.loads(Path("reports/studies/some.json").read_text())["cells"]
    assert [cell["heldout_loss"]["mean"] for cell in cells] == [3, 2, 1]


def test_concurrent_executions_of_a_study_keep_each_others_runs(project: Path) -> None:
    """A second execution completes the study while the first one computes its second run; each writes the whole file."""

    def interleaved(runs: Sequence[Run]) -> Iterator[Result]:
        for number, result in enumerate(FakeBackend({0.3: 3, 0.5: 2, 1.0: 1})(runs)):
            if number == 1:
                complete("some", FakeBackend({0.5: 2, 1.0: 1}))
            yield result

    complete("some", interleaved)
    assert len(stored_runs()) == 3


@pytest.mark.parametrize("content", ["", "{", "<<<<<<< HEAD\n{}", "[]"])
def test_a_damaged_file_of_runs_is_reported_and_not_overwritten(project: Path, content: str) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    file = Path("reports/studies/runs/some.json")
    file.write_text(content)
    for command in (lambda: complete("some", FakeBackend({})), lambda: confirm(Project.load(), FakeBackend({}))):
        with pytest.raises(UserError, match=r"^reports/studies/runs/some\.json is damaged: `git checkout -- reports/"):
            command()
    assert file.read_text() == content


def test_a_run_records_its_machine_and_must_match_exactly_only_there(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}, machine={"system": "cluster node"}))
    store = Store("some")
    assert {store.machines[run["machine"]]["system"] for run in stored_runs()} == {"cluster node"}
    # A rerun on this machine may differ within the statistical tolerance; a rerun on the same node must be equal.
    complete("some", FakeBackend({0.3: 3.05, 0.5: 2, 1.0: 1}), again=True)
    with pytest.raises(UserError, match=r"1 metrics changed: .*heldout_loss"):
        complete("some", FakeBackend({0.3: 3.0501, 0.5: 2, 1.0: 1}), again=True)


def test_a_run_is_discarded_if_its_code_is_edited_meanwhile(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure_and_edit(run: Run, *_: Any) -> Metrics:
        monkeypatch.setattr("stages.studies.identity.code_identity", lambda *_: "edited")
        return {"heldout_loss": metric(1)}

    monkeypatch.setattr("stages.studies.here.measure", measure_and_edit)
    with pytest.raises(UserError, match=r"dsm with .*: the code was edited during the run: its result is discarded"):
        complete("some", backend(Project.load(), 1))
    assert not Path("reports/studies/runs/some.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("some: {methods: [dsm], keep: [x], together: {a: [1], b: [1, 2]}}", r"some: the lists of `together` must have"),
        ("some: {methods: [dsm, keep: [x]}", r"studies\.yaml: not readable as YAML"),
        ("- some", r"studies\.yaml"),
    ],
)
def test_an_invalid_studies_file_is_reported_in_one_line(project: Path, content: str, message: str) -> None:
    Path("studies.yaml").write_text(content)
    for command in ("run", "confirm"):
        name = ["some"] if command == "run" else ["--draw"]
        printed = small.run(project, sys.executable, "-m", f"stages.studies.{command}", *name, status=1, PYTHONPATH=str(ROOT))
        assert re.match(rf"error: .*{message}", printed) and printed.count("\n") == 1


def test_a_new_cell_or_reported_metric_causes_no_rerun(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    study = yaml.safe_load(Path("studies.yaml").read_text())
    study["some"]["grid"]["dsm.sigma"] = [0.3, 2.0, 1.0]
    study["some"]["keep"] += ["score.relative_fisher_error"]
    Path("studies.yaml").write_text(yaml.safe_dump(study))
    fake = FakeBackend({2.0: 5})
    complete("some", fake)
    assert fake.ran == [2.0]
    cells = json.loads(Path("reports/studies/some.json").read_text())["cells"]
    assert [cell["score.relative_fisher_error"]["mean"] for cell in cells] == [0.3, 2.0, 1.0]


def test_a_changed_param_reruns_only_the_runs_that_read_it(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    for change, rerun in (({"vicreg": {"variance": 1.0}}, []), ({"dsm": {"train": {"steps": 7}}}, [0.3, 0.5, 1.0])):
        Path("params.yaml").write_text(yaml.safe_dump(merged(RAW, change)))
        fake = FakeBackend({0.3: 3, 0.5: 2, 1.0: 1})
        complete("some", fake)
        assert fake.ran == rerun


def test_a_failed_run_does_not_discard_the_other_runs(project: Path) -> None:
    tiny = merged(TINY, {"dsm": {"sigma": 0.5}})
    runs = [Run("mog", "dsm", {"dsm.sigma": sigma}) for sigma in (-1, 0.4)]
    found: list[Run] = []
    with pytest.raises(UserError, match=r"dsm\.sigma: -1 is not accepted"):
        found.extend(run for run, *_ in backend(Project(tiny, MIXTURES), 2)(runs))
    assert found == runs[1:]


def test_rerunning_a_study_reports_changed_metrics(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}), again=True)
    with pytest.raises(UserError, match=r"1 metrics changed: dsm with .*0\.5.*: heldout_loss: 2 -> 2\.1"):
        complete("some", FakeBackend({0.3: 3, 0.5: 2.1, 1.0: 1}), again=True)


def test_the_studies_of_the_day_are_those_that_are_not_current_or_all_in_turn() -> None:
    days = [date(2026, 1, 1) + timedelta(number) for number in range(len(STUDIES))]
    run = Run("mog", "dsm", {})
    found = {name: State([run]) for name in STUDIES}
    assert {study_of_day(day, found) for day in days} == set(STUDIES)
    found |= {"sigma": State([run], outdated=[(run, {})]), "wells": State([run], absent=[run])}
    assert {study_of_day(day, found) for day in days} == {"sigma", "wells"}


def edit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the digest of all measuring code."""
    monkeypatch.setattr("stages.studies.identity.code_identity", lambda *_: "edited")


def published() -> tuple[dict[str, Any], str, str]:
    """The published study in the working directory: its JSON, its table, and the description of its picture."""
    folder, picture = Path("reports/studies"), Path("reports/figures/studies/some.png")
    return json.loads((folder / "some.json").read_text()), (folder / "some.md").read_text(), description(picture)


def test_a_study_by_earlier_code_says_so_until_its_runs_are_renewed_or_the_code_is_reverted(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    before, picture = published(), Path("reports/figures/studies/some.png").read_bytes()
    store = Store("some")
    with store.changing(all_runs(load("some"))):
        store.records[0]["commit"] = "abcdef01"
    with pytest.MonkeyPatch.context() as edited:
        edit_code(edited)
        assert publish_changed(["some"], Project.load()) == ["some"] and publish_changed(["some"], Project.load()) == []
        written, text, described = published()
        commit = store.records[1]["commit"]
        notice = (
            f"3 of 3 runs were computed by earlier code, at commits abcdef01 and {commit}; "
            "`python -m stages.studies.run some` renews them."
        )
        assert written["notices"] == [notice] == [described] and text.splitlines()[:4] == ["Study some", "", notice, ""]
        assert written["outdated"] == {"runs": 3, "of": 3, "commits": ["abcdef01", commit]}
        Path("reports/figures/studies/some.png").write_bytes(picture)  # a picture without the notice is drawn again
        assert publish_changed(["some"], Project.load()) == ["some"]
        assert written["cells"] == before[0]["cells"] and written["blocks"] == before[0]["blocks"]
        section = blocks.studies().splitlines()
        assert section[2:5:2] == ["## Study some", notice] and section.count(notice) == 1
        assert blocks.value("some.study.1.heldout_loss", ".1f") == "3.0 (by earlier code)"
        with pytest.raises(KeyboardInterrupt):
            complete("some", FakeBackend({0.3: 3, 0.5: KeyboardInterrupt()}))
        publish_changed(["some"], Project.load())
        assert published()[0]["outdated"] == {"runs": 2, "of": 3, "commits": [commit]}
        complete("some", FakeBackend({0.5: 2, 1.0: 1}))
        assert published() == before and blocks.value("some.study.1.heldout_loss", ".1f") == "3.0"
        assert Path("reports/figures/studies/some.png").read_bytes() == picture
    publish_changed(["some"], Project.load())
    assert published()[0]["outdated"]["runs"] == 3


def test_runs_with_other_params_are_marked_and_decide_no_claim_about_the_current_ones(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    before = published()[0]
    assert before["preset"] == "reference" and before["blocks"]["dsm"]
    Path("params.yaml").write_text(yaml.safe_dump(merged(RAW, {"dsm": {"train": {"steps": 7}}})))
    publish_changed(["some"], Project.load())
    written = published()[0]
    assert written["notices"][0].startswith("3 of 3 runs were computed by earlier code or, 3 of them, with other params of the")
    assert written["outdated"]["other_params"] == 3
    # The params of these runs are unknown: nothing here may pass for a run with the current ones.
    assert written["blocks"] == {"dsm": {}} and written["preset"] == ""


def edit_study(**changes: Any) -> None:
    """Change the declaration of the study in the working directory."""
    declared = yaml.safe_load(Path("studies.yaml").read_text())
    Path("studies.yaml").write_text(yaml.safe_dump({"some": {**declared["some"], **changes}}))


@pytest.mark.parametrize(
    ("changes", "absent", "cells"),
    [
        ({"grid": {"dsm.sigma": [0.3, 0.5, 2.0]}}, 1, 2),
        ({"settings": {"dsm.train.steps": 4}}, 3, 0),
        ({"runs": [0]}, 3, 0),
        ({"domain": "mnist", "methods": ["dsm"]}, 3, 0),
    ],
)
def test_runs_of_another_definition_leave_a_study_incomplete_without_finding_and_picture(
    project: Path, changes: dict[str, Any], absent: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The images have no method dsm: only the domain of the stored runs is compared here.
    monkeypatch.setattr("stages.studies.identity.run_digests", lambda *_: RunDigests("", ""))
    monkeypatch.setattr("stages.studies.engine.run_digests", lambda *_: RunDigests("", ""))
    monkeypatch.setattr("stages.studies.grid.block", lambda study, method: method)
    edit_study(finding="So", shown_by=[HIGH])
    complete("some", FakeBackend({0.3: 5, 0.5: 4, 1.0: 3}))
    assert published()[1].startswith("So\n")
    edit_study(**changes)
    assert publish_changed(["some"], Project.load()) == ["some"]
    written, text = json.loads(Path("reports/studies/some.json").read_text()), Path("reports/studies/some.md").read_text()
    assert written["incomplete"] == {"runs": absent, "of": 3} and len(written["cells"]) == cells
    assert text.startswith(f"Incomplete study some\n\n{absent} of 3 runs ") and "So" not in text
    assert not Path("reports/figures/studies/some.png").exists()
    section = blocks.studies()
    assert "## Incomplete study some" in section and "![" not in section
    with pytest.raises(UserError, match="the study some is incomplete"):
        blocks.value("some.study.1.heldout_loss")


def test_outdated_runs_without_a_reported_metric_must_be_renewed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    edit_study(keep=["heldout_loss", "absent"])
    assert states(Project.load())["some"].name == "current"  # the current code does not measure it here
    edit_code(monkeypatch)
    state = states(Project.load())["some"]
    assert state.name == "incomplete" and len(state.absent) == 3
    edit_study(keep=["heldout_loss"])
    assert states(Project.load())["some"].name == "outdated"


def test_an_outdated_run_must_have_the_metrics_of_the_other_seeds_of_its_cell(project: Path) -> None:
    edit_study(grid={}, runs=[0, 1], keep=["heldout_loss", "score.relative_fisher_error"])
    study, store, now = load("some"), Store("some"), Project.load()
    made = {"commit": "abcdef01", "machine": {}}
    one, two = all_runs(study)
    full = {"heldout_loss": metric(1), "score": {"relative_fisher_error": metric(2)}}
    store.add(one, RunDigests("older", ""), {"heldout_loss": metric(1)}, made)
    store.add(two, now.digests(two), full, made)
    state = state_of(study, store, now.digests)
    assert (state.absent, state.missing, state.name) == ([one], [one], "incomplete")
    (cell,) = assembled(study, store)
    assert "score.relative_fisher_error" not in cell and len(cell["heldout_loss"]["values"]) == 2


def test_verdicts_that_depend_on_an_outdated_study_say_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = yaml.safe_load(Path("studies.yaml").read_text())["some"]
    Path("studies.yaml").write_text(yaml.safe_dump({"some": declared, "other": {**declared, "studies": {"ablation": "some"}}}))
    fake = FakeBackend({0.3: 3, 0.5: 2, 1.0: 1})
    complete("some", fake)
    edit_code(monkeypatch)
    complete("other", fake)
    written = json.loads(Path("reports/studies/other.json").read_text())
    assert "outdated" not in written and written["notices"][0].startswith(
        "Some verdicts depend on the study `some`: 3 of 3 runs were computed by earlier code"
    )
    complete("some", fake)
    assert publish_changed(["other"], Project.load()) == ["other"]
    assert "notices" not in json.loads(Path("reports/studies/other.json").read_text())


def test_the_command_lists_and_publishes_studies_and_computes_none(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))

    def printed(*options: str) -> str:
        return small.run(project, sys.executable, "-m", "stages.studies.run", *options, PYTHONPATH=str(ROOT))

    assert printed("--list") == "some: current\n"
    assert printed("--publish") == "published: nothing, all files are up to date\n"
    Path("params.yaml").write_text(yaml.safe_dump(merged(RAW, {"dsm": {"train": {"steps": 7}}})))
    assert printed("--list").startswith("some: outdated; 3 of 3 runs were computed by earlier code or, 3 of them, with other")
    assert printed("--publish") == "published: some\n" and "outdated" in published()[0]


def test_check_names_studies_that_are_not_current_with_the_command_that_renews_them(project: Path) -> None:
    declared = yaml.safe_load(Path("studies.yaml").read_text())["some"]
    named = dict.fromkeys(sorted(claimed(CLAIMS)), declared)
    Path("studies.yaml").write_text(yaml.safe_dump({"some": declared, **named}, sort_keys=False))
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    Path("params.yaml").write_text(yaml.safe_dump(merged(RAW, {"dsm": {"train": {"steps": 7}}})))
    lines = small.run(project, sys.executable, "-m", "stages.tools.check", PYTHONPATH=str(ROOT)).splitlines()
    assert lines[0].startswith("study some: outdated: 3 of 3 runs ")
    assert lines[0].endswith("; `python -m stages.studies.run some` renews them.")
    missing = "3 of 3 runs are missing or lack a reported metric; `python -m stages.studies.run ablation` computes them."
    assert lines[1] == f"study ablation (claims need it): incomplete: {missing}" and len(lines) == 5


def test_metrics_of_a_single_cell_are_also_stored_under_its_method(project: Path) -> None:
    study = Study.model_validate({"domain": "mnist", "methods": ["jepa_ema"], "keep": ["knn.accuracy", "knn.f1_macro"]})
    store = Store("some")
    metrics = {"knn": {"accuracy": metric(0.9), "f1_macro": metric(0.8)}}
    store.add(all_runs(study)[0], RunDigests("", ""), metrics, {"commit": "", "machine": {}})
    assert content("some", study, store, Project(RAW, MIXTURES))["jepa_ema"] == metrics


def test_the_method_of_a_cell_replaces_the_placeholder_in_param_names() -> None:
    found = list(cells(example(methods=["dsm", "ism"], grid={"{method}.train.steps": [4]})))
    assert found == [("dsm", {"dsm.train.steps": 4}), ("ism", {"ism.train.steps": 4})]


def test_jointly_varied_params_are_not_combined_with_each_other() -> None:
    together = {"{method}.train.batch_size": [16, 32], "{method}.train.steps": [8, 4]}
    found = list(cells(example(grid={"seeds": [2, 3]}, together=together)))
    assert len(found) == 4
    assert found[1] == ("dsm", {"seeds": 2, "dsm.train.batch_size": 32, "dsm.train.steps": 4})


def test_a_changed_expectation_changes_the_verdict() -> None:
    cell = {"method": "dsm", "settings": {}, "metrics": {"batch_dependence": metric(0.0)}}
    opposite = CLAIMS.model_copy(update={"expected": {"dsm": {"in_batch_negatives": True}}})
    found = [with_verdicts(example(claims=True), [cell], claims) for claims in (CLAIMS, opposite)]
    assert [decided[0]["claims"]["in_batch_negatives"]["verdict"] for decided in found] == ["holds", "fails"]


def test_a_complete_study_is_published_again_without_reruns(project: Path) -> None:
    complete("some", FakeBackend({0.3: 3, 0.5: 2, 1.0: 1}))
    written = Path("reports/studies/some.md").read_text()
    Path("reports/studies/some.md").unlink()
    complete("some", FakeBackend({}))
    assert Path("reports/studies/some.md").read_text() == written
    assert written.endswith("on test machine.\n") and Path("reports/figures/studies/some.png").exists()


def test_a_study_has_a_preset_only_if_its_cells_share_it() -> None:
    assert preset(example(), RAW) == "reference"
    assert preset(example(grid={"mog.preset": ["ring"]}), RAW) == "ring"
    assert preset(example(grid={"mog.preset": ["ring", "unequal"]}), RAW) == ""
    assert preset(example(settings={"mog.preset": "ring"}), RAW) == "ring"


def metric(mean: float, std: float = 0.5) -> dict[str, Any]:
    """A metric over two seeds."""
    return {"mean": mean, "std": std, "values": [mean - std, mean + std]}


FALLS = {"metric": "loss", "falls_with": "dsm.sigma"}
HIGH = {"metric": "heldout_loss", "above": 1}
SLOPE = {"metric": "heldout_loss", "falls_with": "dsm.sigma"}


def found_cells(*means: float, method: str = "dsm") -> list[dict[str, Any]]:
    """Cells of increasing σ with these losses."""
    sigmas = (0.3, 0.5, 1.0)
    return [
        {"method": method, "settings": {"dsm.sigma": s}, "loss": metric(m, 0.01)} for s, m in zip(sigmas, means, strict=False)
    ]


def test_the_report_has_the_finding_the_metrics_in_words_and_the_verdicts() -> None:
    study = example(
        grid={"dsm.sigma": [0.3, 0.5], "seeds": [8]},
        keep=["heldout_loss", "absent", "same"],
        labels={"dsm.sigma": "σ ="},
        claims=True,
    )
    verdicts = [
        {"sees_gaps": {"claimed": "no", "verdict": verdict, "narrow": False, "mean": 1.0}} for verdict in ("fails", "holds")
    ]
    found = [
        {
            "method": "dsm",
            "settings": {"dsm.sigma": sigma, "seeds": 8},
            "heldout_loss": metric(mean),
            "same": metric(1),
            "claims": claims,
        }
        for sigma, mean, claims in zip((0.3, 0.5), (4.0, 2.0), verdicts, strict=True)
    ]
    lines = markdown("s", study, found, "made here.").splitlines()
    assert lines[0] == "Study s"
    assert lines[2:5] == [
        "| setting | held-out loss ↓ | same |",
        "|---|---|---|",
        "| σ = 0.3 | 4.000 ± 0.500 | 1.000 ± 0.500 |",
    ]
    assert lines[-4:] == ["| σ = 0.3 | no **✗** |", "| σ = 0.5 | no ✓ |", "", "Made here."]


@pytest.mark.parametrize(
    ("condition", "means", "expected"),
    [
        ({"metric": "loss", "above": 1}, (2, 3), True),
        ({"metric": "loss", "above": 1}, (2, 0.5), False),
        ({"metric": "loss", "below": 1}, (0.2, 0.5), True),
        ({"metric": "loss", "below": 1}, (0.2, 1.5), False),
        ({"metric": "loss", "where": {"dsm.sigma": 0.5}, "below": 1}, (2, 0.5), True),
        ({"metric": "loss", "where": {"{method}.sigma": 0.3}, "below": 1}, (2, 0.5), False),
        ({"metric": "loss", "methods": ["ism"], "below": 9}, (2, 0.5), False),
        ({"metric": "other", "below": 9}, (2, 0.5), False),
        (FALLS, (3, 2, 1), True),
        (FALLS, (3, 1, 2), False),
        (FALLS, (3,), False),
        ({"metric": "loss", "rises_with": "dsm.sigma"}, (1, 2, 3), True),
        ({"metric": "loss", "rises_with": "dsm.sigma"}, (1, 1, 3), False),
        ({"metric": "loss", "above": 1}, (2, 1.015), False),  # by less than two standard errors, .02
        ({"metric": "loss", "below": 1}, (0.2, 0.985), False),
        ({"metric": "loss", "where": {"dsm.sigma": 0.5}, "against": {"dsm.sigma": 0.3}, "above": 0.5}, (1, 2), True),
        ({"metric": "loss", "where": {"dsm.sigma": 0.5}, "against": {"dsm.sigma": 0.3}, "below": 0.5}, (1, 2), False),
        ({"metric": "loss", "where": {"dsm.sigma": 0.3}, "against": {"dsm.sigma": 0.5}, "below": 0.5}, (1,), False),
        ({"metric": "loss", "where": {"dsm.sigma": 0.3}, "against": {"method": "ism"}, "below": 0.5}, (1, 1), False),
    ],
)
def test_a_finding_is_reported_as_not_shown_if_a_condition_fails(
    condition: dict[str, Any], means: tuple[float, ...], expected: bool
) -> None:
    study = example(methods=["dsm", "ism"], keep=["loss", "other"], finding="So it is", shown_by=[condition])
    text = headline("s", study, found_cells(*means))
    assert text == ("So it is" if expected else "These runs do not show this: So it is")


def test_a_direction_is_required_of_each_method_and_setting_with_jointly_varied_params_as_one() -> None:
    together = {"{method}.train.batch_size": [16, 64], "{method}.train.steps": [400, 100]}
    condition = {"metric": "loss", "falls_with": "{method}.train.batch_size"}
    study = example(methods=["dsm", "ism"], grid={}, together=together, keep=["loss"], finding="So", shown_by=[condition])
    order = list(cells(study))
    found = [{"method": m, "settings": s, "loss": metric(v)} for (m, s), v in zip(order, (4, 3, 2, 1), strict=True)]
    assert headline("s", study, found) == "So"
    found[-1]["loss"] = metric(9)
    assert headline("s", study, found) != "So"


@pytest.mark.parametrize(("mean", "expected"), [(1, "So"), (3, "These runs do not show this: So")])
def test_methods_are_compared_although_each_has_params_of_its_own_block(mean: float, expected: str) -> None:
    settings = {"seeds": 4, "{method}.train.steps": 9, "dsm.train.steps": 36}
    condition = {"metric": "loss", "methods": ["ism"], "against": {"method": "dsm"}, "below": 0.0}
    of_both = {"methods": ["dsm", "ism"], "settings": settings, "grid": {"{method}.train.batch_size": [16, 64]}}
    study = example(**of_both, keep=["loss"], finding="So", shown_by=[condition])
    found = [{"method": m, "settings": s, "loss": metric(2 if m == "dsm" else mean)} for m, s in cells(study)]
    assert headline("s", study, found) == expected


def test_a_finding_is_not_shown_if_one_of_its_cells_lacks_the_metric() -> None:
    study = example(keep=["loss"], finding="So", shown_by=[{"metric": "loss", "above": 1}])
    found = found_cells(2, 3)
    assert headline("s", study, found) == "So"
    del found[0]["loss"]
    assert headline("s", study, found) != "So"


def test_direction_between_cells_is_decided_seed_by_seed() -> None:
    study = example(keep=["loss"], finding="So", shown_by=[FALLS])
    # Both seeds fall by .1, although they differ by 1.
    found = [{"method": "dsm", "settings": {"dsm.sigma": s}, "loss": metric(m)} for s, m in ((0.3, 2.1), (0.5, 2.0))]
    assert headline("s", study, found) == "So"
    found[1]["loss"]["values"].reverse()
    assert headline("s", study, found) != "So"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (metric(3, 0.01), {"higher"}),
        (metric(1, 0.01), {"lower"}),
        (metric(2.1, 0.01), {"higher", "alike"}),
        ({"mean": 3, "std": 2, "values": [1, 5]}, {"alike"}),
        (3.0, {"higher"}),
    ],
)
def test_a_metric_is_higher_lower_or_alike(found: Any, expected: set[str]) -> None:
    assert changed(found, metric(2, 0.01)) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finding": "So"}, "a finding needs `shown_by`"),
        ({"shown_by": [FALLS], "keep": ["loss"]}, "a finding needs `shown_by`"),
        ({"finding": "So", "shown_by": [FALLS]}, "loss: not among the metrics of `keep`"),
        ({"panels": ["loss"]}, "loss: not among the metrics of `keep`"),
        ({"finding": "So", "shown_by": [{"metric": "heldout_loss"}]}, "a condition needs one of above, below"),
        ({"finding": "So", "shown_by": [{"metric": "heldout_loss", "above": 1, "below": 2}]}, "a condition needs one of"),
    ],
)
def test_a_finding_without_conditions_that_can_fail_is_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        example(**changes)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"metric": "heldout_loss", "falls_with": "dsm.sigma", "against": {"dsm.sigma": 0.3}},
            "`against` needs above or below",
        ),
        ({"metric": "heldout_loss", "rises_with": "dsm.sgima"}, "dsm.sgima: the study does not vary it"),
        ({**HIGH, "where": {"dsm.sgima": 0.3}}, "dsm.sgima=0.3: no cell of the study has that"),
        ({**HIGH, "where": {"dsm.sigma": 9}}, "dsm.sigma=9: no cell of the study has that"),
        ({**HIGH, "against": {"dsm.sigma": 9}}, "dsm.sigma=9: no cell of the study has that"),
        ({**HIGH, "methods": ["dms"]}, "dms: not among the methods of the study"),
    ],
)
def test_a_condition_that_no_cell_can_meet_is_rejected(condition: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        example(finding="So", shown_by=[condition])


def test_a_direction_along_a_param_with_repeated_values_is_rejected() -> None:
    together = {"dsm.sigma": [0.3, 0.3], "dsm.train.steps": [4, 5]}
    condition = {"metric": "heldout_loss", "rises_with": "dsm.sigma"}
    with pytest.raises(ValueError, match=r"dsm\.sigma: the study does not vary it, or repeats a value"):
        example(grid={}, together=together, finding="So", shown_by=[condition])


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "exercises"])
def test_every_committed_study_shows_its_finding(name: str) -> None:
    study = load(name, ROOT / "studies.yaml")
    committed = json.loads((ROOT / f"reports/studies/{name}.json").read_text())["cells"]
    assert study.finding and headline(name, study, committed) == study.finding


@pytest.mark.parametrize("number", range(len(load("exercises", ROOT / "studies.yaml").cases)))
def test_the_answer_of_an_exercise_says_how_the_metrics_differ(number: int) -> None:
    case = load("exercises", ROOT / "studies.yaml").cases[number]
    cell = json.loads((ROOT / "reports/studies/exercises.json").read_text())["cells"][number]
    committed = json.loads((ROOT / f"reports/metrics/mog/{case.method}.json").read_text())
    assert (cell["method"], cell["settings"]) == (case.method, case.settings) and case.why
    for key, change in case.shows.items():
        assert change in changed(cell[key], look_up(committed, key)), key


def test_the_first_varied_param_is_the_axis_and_the_second_labels_lines() -> None:
    study = example(keep=["loss"], labels={"dsm.sigma": "noise level σ"})
    found = [
        {"method": method, "settings": settings, "loss": {"mean": mean, "std": 0.1, "values": [mean]}}
        for mean, (method, settings) in enumerate(cells(study))
    ]
    (axes,) = draw("s", study, found).axes
    assert axes.get_xlabel() == "noise level σ"
    drawn = {line.get_label(): line[0].get_xydata().tolist() for line in axes.containers}
    assert drawn == {"steps 4": [[0.3, 0], [0.5, 2]], "steps 5": [[0.3, 1], [0.5, 3]]}


def test_a_figure_shows_the_panels_of_the_study_and_at_most_three() -> None:
    keep = ["loss", "b", "c", "d"]
    found = [{**cell, **dict.fromkeys("bcd", metric(1))} for cell in found_cells(3, 2)]
    one: dict[str, Any] = {"keep": keep, "grid": {"dsm.sigma": [0.3, 0.5]}}
    assert len(draw("s", example(**one), found).axes) == 3
    (axes,) = draw("s", example(**one, panels=["c"]), found).axes
    assert axes.get_title() == "c"


@pytest.mark.parametrize("value", [None, True])
def test_a_study_without_numbers_is_rejected(value: Any) -> None:
    found = [{**cell, "loss": value} for cell in found_cells(3, 2)]
    with pytest.raises(UserError, match="study s: no cell has a number for any of loss"):
        draw("s", example(keep=["loss"]), found)


def test_plain_numbers_are_drawn_and_lines_of_methods_differ_in_colour_and_those_of_a_method_in_dash() -> None:
    study = example(methods=["dsm", "ism"], keep=["loss"])
    found = [{"method": method, "settings": settings, "loss": number} for number, (method, settings) in enumerate(cells(study))]
    (axes,) = draw("s", study, found).axes
    styles = [(one[0].get_color(), one[0].get_linestyle()) for one in axes.containers]
    assert len(set(styles)) == len(styles) == 4 and len({dash for _, dash in styles}) == 2


def test_a_study_of_another_mixture_shows_that_mixture() -> None:
    study = example(keep=["loss"], grid={"mog.preset": ["ring"], "dsm.sigma": [0.3, 0.5]})
    first, _ = draw("s", study, found_cells(3, 2), mixtures.load(ROOT / "mixtures.yaml")["ring"]).axes
    assert first.get_title() == "the mixture “ring”" and first.collections


@pytest.mark.parametrize("name", STUDIES)
def test_committed_studies_are_complete_and_published_as_the_stored_runs_and_the_committed_code_imply(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    study, store, now = load(name), Store(name), Project.load()
    state = state_of(study, store, now.digests)
    assert not state.absent, f"incomplete: python -m stages.studies.run {name}"
    committed = json.loads((ROOT / f"reports/studies/{name}.json").read_text())
    assert committed == content(name, study, store, now), "python -m stages.studies.run --publish, then make readme"
    assert all(any(key in cell for cell in committed["cells"]) for key in study.keep)
    assert (ROOT / f"reports/studies/{name}.md").read_text() == report(name, study, store, committed)
    if not study.cases:
        notices = committed.get("notices", [])
        assert description(ROOT / f"reports/figures/studies/{name}.png") == " ".join(notices)
        figure = draw(name, study, with_verdicts(study, assembled(study, store), CLAIMS), outdated=bool(notices))
        assert figure.axes and (OUTDATED.strip() in figure.get_suptitle().replace("\n", " ")) == bool(notices)


@pytest.mark.parametrize("name", sorted(claimed(CLAIMS)))
def test_committed_studies_that_claims_name_are_current(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    state = state_of(load(name), Store(name), Project.load().digests)
    assert state.name == "current", f"python -m stages.studies.run {name}, or make confirm"


def test_claims_name_the_studies_that_decide_them_or_change_their_verdicts() -> None:
    assert claimed(CLAIMS) == {"ablation", "batch", "spectrum", "wells"}


def test_every_study_uses_existing_methods_and_params() -> None:
    for name in STUDIES:
        for method, settings in cells(load(name, ROOT / "studies.yaml")):
            study = load(name, ROOT / "studies.yaml")
            methods = {"mog": RAW["methods"], "pixels": RAW["pixels"]["settings"]}.get(study.domain, RAW["mnist"]["methods"])
            assert method in methods
            with_settings(RAW, settings)


@pytest.mark.integration
def test_rerunning_a_randomly_chosen_run_reproduces_its_committed_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    # A new run is chosen each time; ENERGY_WELLS_DRAW=SEED repeats a choice. Runs on images take minutes, so none is chosen.
    monkeypatch.chdir(ROOT)
    seed = int(os.environ.get("ENERGY_WELLS_DRAW", random.SystemRandom().randrange(2**32)))
    rng = random.Random(seed)
    now = Project.load()
    current = [
        (name, run, record)
        for name in STUDIES
        if not load(name).images
        for run in all_runs(load(name))
        if (record := Store(name).current(run, now.digests(run).identity))
    ]
    name, run, record = rng.choice(current)
    store = Store(name)
    print(f"ENERGY_WELLS_DRAW={seed} chooses from {name}: {run}")
    found = measure(run, now)
    # Another processor rounds differently, which amounts to another seed; on a machine with the same facts metrics are equal.
    exactly = store.made_on(record, machine.facts(params.load()))
    assert not differences(record, run, found, now, exactly=exactly), f"ENERGY_WELLS_DRAW={seed}: {name}: {run}"


def published_cells(name: str) -> list[dict[str, Any]]:
    """The cells of a committed study."""
    cells: list[dict[str, Any]] = json.loads((ROOT / f"reports/studies/{name}.json").read_text())["cells"]
    return cells


def test_committed_studies_meet_the_theoretical_expectations() -> None:
    for cell, threshold in zip(published_cells("sigma"), (0.02, 0.015, 0.01), strict=True):
        assert cell["score.relative_fisher_error"]["mean"] <= threshold
        assert 0.9 <= cell["denoising.excess_over_error"]["mean"] <= 1.1
    gaps = [cell["score.energy_gap_error"]["mean"] for cell in published_cells("gaps")]
    assert gaps[0] > 1 and gaps[-1] < 0.1
    for cell in published_cells("ring"):
        assert 0.88 < cell.get("clusters.bayes_accuracy", {"mean": 0.9})["mean"] < 0.92
        assert cell.get("clusters.delta_knn_accuracy_untrained", {"mean": 0})["mean"] < 0.01


def test_wide_encoders_reach_the_knn_target_with_every_seed() -> None:
    (best,) = (cell for cell in published_cells("mnist_seeds") if cell["method"] == "jepa_ema")
    for name in ("accuracy", "precision_macro", "recall_macro", "f1_macro"):
        assert best[f"knn.{name}"]["mean"] >= 0.9930
        assert len(best[f"knn.{name}"]["values"]) == 3 and min(best[f"knn.{name}"]["values"]) >= KNN
