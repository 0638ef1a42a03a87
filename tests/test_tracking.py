"""Where runs are logged: the address of the store, what waits to be logged, and what becomes of both where all is not well."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import chdir, closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.tracking import log, spool, store
from stages.tracking.state import Run, State
from tests import small


def put(name: str) -> None:
    """Have an empty state of this name wait, behind those that do."""
    before = set(spool.waiting())
    spool.put(State(Run(name=name, tags={"lock_digest": name}, params={}, metrics={}, curves=[], artifacts=[]), []))
    (entry,) = set(spool.waiting()) - before
    os.utime(entry, (len(before), len(before)))


class Accepting:
    """A store that takes all states but those that it is told to refuse."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.asked = refused, list[str]()

    def tracker(self, client: Any, place: Path, state: State, report: Callable[[str], None]) -> Any:
        outer, name = self, state.whole.name

        class Asked:
            def log(self) -> None:
                outer.asked.append(name)
                if name in outer.refused:
                    raise ValueError(f"{name} is refused")

        return Asked()

    def __enter__(self) -> Accepting:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Accepting], tuple[list[str], list[str]]]:
    """What a store is asked to log of the states that wait in a new folder, and what is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spool, "place", lambda: tmp_path / "spool")

    def run(store: Accepting) -> tuple[list[str], list[str]]:
        monkeypatch.setattr(log, "Store", lambda: store)
        monkeypatch.setattr(log, "Tracker", store.tracker)
        said: list[str] = []
        log.log_waiting(said.append)
        return store.asked, said

    return run


def test_one_that_is_refused_keeps_no_other_waiting(logged: Any) -> None:
    for name in ("a", "b", "c"):
        put(name)
    asked, (said,) = logged(Accepting("a"))
    assert asked == ["a", "b", "c"]
    assert said == "warning: not logged to MLflow (ValueError: a is refused); `make track` tries again"
    assert len(spool.waiting()) == 1
    put("d")
    assert sorted(logged(Accepting("a"))[0]) == ["a", "d"] and len(spool.waiting()) == 1
    assert logged(Accepting()) == (["a"], []) and not spool.waiting()


def test_a_store_that_does_not_work_is_asked_no_more_than_twice_and_others_come_first_the_next_time(logged: Any) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        put(name)
    assert logged(Accepting(*names))[0] == ["a", "b"]
    asked, _ = logged(Accepting("a", "b"))
    assert asked[:2] == ["c", "d"] and sorted(asked[2:]) == ["a", "b"]
    assert sorted(logged(Accepting())[0]) == ["a", "b"]


def test_one_that_is_damaged_is_removed(logged: Any) -> None:
    put("a")
    (spool.waiting()[0] / spool.STATE).write_text("{")
    put("b")
    assert logged(Accepting()) == (["b"], []) and not spool.waiting()


def test_one_that_cannot_be_removed_is_tried_once(logged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a")
    monkeypatch.setattr(spool, "drop", lambda _: None)
    assert logged(Accepting())[0] == ["a"]


# the store

ODD = "a?b#c%2Fd ä"


def at(folder: Path, monkeypatch: pytest.MonkeyPatch, given: str = "") -> None:
    """Be in a temporary copy of the project in a folder, with an address of the store."""
    copy = folder / ".dvc/tmp/exps/one"
    copy.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)


@pytest.mark.parametrize("name", ["plain", "ä b", ODD])
@pytest.mark.parametrize("given", ["", "sqlite:///runs.db", "sqlite:///deep/er/runs.db"])
def test_a_database_is_the_projects_also_in_a_temporary_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: str
) -> None:
    at(tmp_path / name, monkeypatch, given)
    expected = tmp_path / name / (given or "sqlite:///mlflow.db").removeprefix("sqlite:///")
    path = Path(store.tracking_uri().removeprefix("sqlite:///"))
    assert path.resolve() == expected.resolve() == (store.database() or Path()).resolve()
    assert store.folder() == expected.parent and not set("?#%") & set(str(path))


@pytest.mark.parametrize(
    "given", ["http://127.0.0.1:9", "sqlite:////a/b.db?timeout=5", "sqlite://", "postgresql://me@here/runs"]
)
def test_any_other_address_is_left_as_it_is(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(tmp_path, monkeypatch, given)
    assert store.tracking_uri() == given and store.database() is None and store.folder() == tmp_path
    store.check()
    store.update_locations()


@pytest.mark.parametrize("obstacle", ["no folder", "a folder", "no database"])
def test_a_database_that_cannot_be_opened_is_one_line(obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at(tmp_path, monkeypatch, "sqlite:///there/runs.db")
    if obstacle == "a folder":
        (tmp_path / "there/runs.db").mkdir(parents=True)
    elif obstacle == "no database":
        (tmp_path / "there").mkdir()
        (tmp_path / "there/runs.db").write_text("minutes of a meeting" * 100)
    with pytest.raises(UserError, match=r"there/runs\.db cannot be opened: "):
        store.check()


def run_of(project: Path, part: str) -> tuple[MlflowClient, str]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment
    (found,) = client.search_runs([experiment.experiment_id], f"tags.part = '{part}'")
    return client, found.info.run_id


@pytest.mark.parametrize("name", [pytest.param("elsewhere", marks=pytest.mark.nightly), ODD])
def test_a_project_that_was_moved_has_its_files_and_its_runs_with_it(copied: Path, tmp_path: Path, name: str) -> None:
    moved = tmp_path / name
    copied.rename(moved)
    # A new state, whose files go where the project is now.
    small.change_params(moved, {"dsm": {"sigma": 0.45}})
    small.run(moved, "dvc", "repro", "mog_evaluate@dsm")
    small.run(moved, "python", "-m", "stages.track")
    assert not copied.exists()
    assert {folder.name for folder in tmp_path.iterdir()} == {name}
    # A client keeps what it knows by the address of the store: under a relative one, that of another test.
    shutil.copyfile(moved / "mlflow.db", seen := tmp_path / "seen.db")
    with chdir(moved):
        client = MlflowClient(f"sqlite:///{seen}")
        experiment = client.get_experiment_by_name(store.EXPERIMENT)
        assert experiment
        found = client.search_runs([experiment.experiment_id], "tags.part = 'mog.dsm'")
        assert len(found) == 2
        for run in found:
            assert (moved / "mlartifacts" / run.info.run_id / "artifacts/landscape.png").exists()
            assert client.download_artifacts(run.info.run_id, "landscape.png")


def test_the_costs_stand_apart_from_what_was_measured(reproduced: Path) -> None:
    client, run = run_of(reproduced, "pipeline")
    metrics = client.get_run(run).data.metrics
    costs = {name for name in metrics if name.startswith("system/")}
    assert "system/mog_train.dsm.seconds" in costs
    assert {name.split(".")[0] for name in metrics.keys() - costs} == {"mog", "mnist"}


# make ui


def test_a_port_that_is_taken_or_none_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for given, said in (
            (port, f"port {port}: "),
            ("x", "PORT: 'x' is not"),
            ("0", "PORT: '0' is not"),
            ("70000", "PORT: "),
        ):
            printed = small.run(tmp_path, sys.executable, "-m", "stages.tools.ui", given, status=1, PYTHONPATH=str(ROOT))
            assert printed.startswith(f"error: {said}") and printed.count("\n") == 1


@pytest.mark.parametrize("command", [("ui", "0"), ("registry",)])
def test_a_store_of_another_mlflow_is_one_line(copied: Path, command: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(copied / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    words = [str(small.free_port()) if word == "0" else word for word in command[1:]]
    said = small.run(copied, "python", "-m", f"stages.tools.{command[0]}", *words, status=1)
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "schema" in lines[0] and "Traceback" not in said
