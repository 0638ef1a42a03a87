"""Tracking: the spool of states that wait to be logged, the address of the MLflow store, and failures of both."""

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
    """Add an empty state of this name at the end of the spool."""
    before = set(spool.waiting())
    spool.put(State(Run(name=name, tags={"lock_digest": name}, params={}, metrics={}, curves=[], artifacts=[]), []))
    (entry,) = set(spool.waiting()) - before
    os.utime(entry, (len(before), len(before)))


class FakeStore:
    """Stands for `log.Store` and `log.Tracker`: records the attempts to log, and refuses the states of some names."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.attempts = refused, list[str]()

    def tracker(self, client: Any, place: Path, state: State, report: Callable[[str], None]) -> Any:
        outer, name = self, state.whole.name

        class FakeTracker:
            def log(self) -> None:
                outer.attempts.append(name)
                if name in outer.refused:
                    raise ValueError(f"{name} is refused")

        return FakeTracker()

    def __enter__(self) -> FakeStore:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeStore], tuple[list[str], list[str]]]:
    """A function that logs a new spool to a store; it returns the names of the attempted states, and the messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spool, "place", lambda: tmp_path / "spool")

    def run(store: FakeStore) -> tuple[list[str], list[str]]:
        monkeypatch.setattr(log, "Store", lambda: store)
        monkeypatch.setattr(log, "Tracker", store.tracker)
        messages: list[str] = []
        log.log_waiting(messages.append)
        return store.attempts, messages

    return run


def test_refused_state_does_not_block_the_others(logged: Any) -> None:
    for name in ("a", "b", "c"):
        put(name)
    attempts, (message,) = logged(FakeStore("a"))
    assert attempts == ["a", "b", "c"]
    assert message == "warning: not logged to MLflow (ValueError: a is refused); `make track` tries again"
    assert len(spool.waiting()) == 1
    put("d")
    assert sorted(logged(FakeStore("a"))[0]) == ["a", "d"] and len(spool.waiting()) == 1
    assert logged(FakeStore()) == (["a"], []) and not spool.waiting()


def test_logging_stops_after_two_failures_and_next_begins_with_other_states(logged: Any) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        put(name)
    assert logged(FakeStore(*names))[0] == ["a", "b"]
    attempts, _ = logged(FakeStore("a", "b"))
    assert attempts[:2] == ["c", "d"] and sorted(attempts[2:]) == ["a", "b"]
    assert sorted(logged(FakeStore())[0]) == ["a", "b"]


def test_damaged_state_is_removed_from_the_spool(logged: Any) -> None:
    put("a")
    (spool.waiting()[0] / spool.STATE).write_text("{")
    put("b")
    assert logged(FakeStore()) == (["b"], []) and not spool.waiting()


def test_logged_state_that_cannot_be_removed_is_not_logged_twice(logged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put("a")
    monkeypatch.setattr(spool, "drop", lambda _: None)
    assert logged(FakeStore())[0] == ["a"]


# the store

ODD = "a?b#c%2Fd ä"
"""A name with characters that have a meaning in URIs, a space and an umlaut."""


def enter_copy(folder: Path, monkeypatch: pytest.MonkeyPatch, uri: str = "") -> None:
    """Enter a temporary copy, as of `dvc exp run --temp`, of the project in a folder, and set the URI of the store."""
    copy = folder / ".dvc/tmp/exps/one"
    copy.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


@pytest.mark.parametrize("name", ["plain", "ä b", ODD])
@pytest.mark.parametrize("uri", ["", "sqlite:///runs.db", "sqlite:///deep/er/runs.db"])
def test_temporary_copy_uses_the_database_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, uri: str
) -> None:
    enter_copy(tmp_path / name, monkeypatch, uri)
    expected = tmp_path / name / (uri or "sqlite:///mlflow.db").removeprefix("sqlite:///")
    path = Path(store.tracking_uri().removeprefix("sqlite:///"))
    assert path.resolve() == expected.resolve() == (store.database() or Path()).resolve()
    assert store.folder() == expected.parent and not set("?#%") & set(str(path))


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////a/b.db?timeout=5", "sqlite://", "postgresql://me@here/runs"])
def test_uris_other_than_database_files_are_used_unchanged(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_copy(tmp_path, monkeypatch, uri)
    assert store.tracking_uri() == uri and store.database() is None and store.folder() == tmp_path
    store.check()
    store.update_locations()


@pytest.mark.parametrize("obstacle", ["missing folder", "folder of that name", "text file"])
def test_unusable_database_is_reported_in_one_line(obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter_copy(tmp_path, monkeypatch, "sqlite:///there/runs.db")
    if obstacle == "folder of that name":
        (tmp_path / "there/runs.db").mkdir(parents=True)
    elif obstacle == "text file":
        (tmp_path / "there").mkdir()
        (tmp_path / "there/runs.db").write_text("minutes of a meeting" * 100)
    with pytest.raises(UserError, match=r"there/runs\.db cannot be opened: "):
        store.check()


def run_of(project: Path, part: str) -> tuple[MlflowClient, str]:
    """The client of a project's store, and the ID of its only run of a part."""
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment
    (found,) = client.search_runs([experiment.experiment_id], f"tags.part = '{part}'")
    return client, found.info.run_id


@pytest.mark.parametrize("name", [pytest.param("elsewhere", marks=pytest.mark.nightly), ODD])
def test_moved_project_keeps_its_runs_and_their_artifacts(copied: Path, tmp_path: Path, name: str) -> None:
    moved = tmp_path / name
    copied.rename(moved)
    # The artifacts of a new state are written to the new place.
    small.change_params(moved, {"dsm": {"sigma": 0.45}})
    small.run(moved, "dvc", "repro", "mog_evaluate@dsm")
    small.run(moved, "python", "-m", "stages.track")
    assert not copied.exists()
    assert {folder.name for folder in tmp_path.iterdir()} == {name}
    # MLflow caches stores by URI, and the relative URI of the moved project may be that of another test.
    shutil.copyfile(moved / "mlflow.db", database := tmp_path / "copy.db")
    with chdir(moved):
        client = MlflowClient(f"sqlite:///{database}")
        experiment = client.get_experiment_by_name(store.EXPERIMENT)
        assert experiment
        found = client.search_runs([experiment.experiment_id], "tags.part = 'mog.dsm'")
        assert len(found) == 2
        for run in found:
            assert (moved / "mlartifacts" / run.info.run_id / "artifacts/landscape.png").exists()
            assert client.download_artifacts(run.info.run_id, "landscape.png")


def test_costs_are_logged_as_system_metrics(reproduced: Path) -> None:
    client, run = run_of(reproduced, "pipeline")
    metrics = client.get_run(run).data.metrics
    costs = {name for name in metrics if name.startswith("system/")}
    assert "system/mog_train.dsm.seconds" in costs
    assert {name.split(".")[0] for name in metrics.keys() - costs} == {"mog", "mnist"}


# make ui


def test_invalid_or_occupied_port_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for given, message in (
            (port, f"port {port}: "),
            ("x", "PORT: 'x' is not"),
            ("0", "PORT: '0' is not"),
            ("70000", "PORT: "),
        ):
            printed = small.run(tmp_path, sys.executable, "-m", "stages.tools.ui", given, status=1, PYTHONPATH=str(ROOT))
            assert printed.startswith(f"error: {message}") and printed.count("\n") == 1


@pytest.mark.parametrize("command", [("ui", "0"), ("registry",)])
def test_store_of_another_mlflow_version_is_reported_in_one_line(copied: Path, command: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(copied / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    arguments = [str(small.free_port()) if word == "0" else word for word in command[1:]]
    printed = small.run(copied, "python", "-m", f"stages.tools.{command[0]}", *arguments, status=1)
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "schema" in lines[0] and "Traceback" not in printed
