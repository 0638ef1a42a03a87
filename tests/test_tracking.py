"""The spool: a state that cannot be logged keeps no other waiting; a store that does not work is asked no more than twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.tracking import log, spool
from stages.tracking.state import Run, State


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

    def tracker(self, client: Any, place: Path, state: State, say: Callable[[str], None]) -> Any:
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
