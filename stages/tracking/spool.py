"""The spool: copies of the states that wait to be logged, so that the working directory may change or disappear meanwhile.

A state is a folder beside the store, with `state.json` and copies of its files. The folder is created atomically and removed
once the state is logged; a failed state is retried later. The file `messages` keeps the messages of background logging.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from stages.core.errors import UserError
from stages.pipeline import digests, files
from stages.tracking.state import State
from stages.tracking.store import folder

STATE = "state.json"
"""The file in a state's folder that describes it."""


def place() -> Path:
    """The folder of the spool."""
    return folder() / ".mlflow-spool"


def put(state: State) -> None:
    """Add a state with copies of its files."""
    name = digests.of_content([state.whole.name, state.whole.tags["lock_digest"]])[:16]
    there, unfinished = place() / name, place() / f".unfinished.{name}"
    if there.exists():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    for path in sorted(state.paths()):
        copy = unfinished / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    files.write_json(unfinished / STATE, state.to_json())
    unfinished.rename(there)


def waiting() -> list[Path]:
    """The folders of all states, oldest first."""
    return sorted(place().glob("[0-9a-f]*"), key=lambda entry: entry.stat().st_mtime)


def read(entry: Path) -> State | None:
    """The state in a folder; None if it is damaged."""
    try:
        return State.from_json(files.read_json(entry / STATE))
    except (UserError, TypeError, KeyError):
        return None


def put_last(entry: Path) -> None:
    """Move a state to the end of the spool."""
    with suppress(OSError):
        os.utime(entry)


def drop(entry: Path) -> None:
    """Remove a state, because it is logged or damaged."""
    shutil.rmtree(entry, ignore_errors=True)


def note(message: str) -> None:
    """Keep a message for the next call of `messages`."""
    place().mkdir(parents=True, exist_ok=True)
    with (place() / "messages").open("a", encoding="utf-8") as file:
        file.write(f"{message}\n")


def messages() -> list[str]:
    """Return and delete the kept messages, without duplicates."""
    path = place() / "messages"
    lines: list[str] = []
    with suppress(FileNotFoundError):
        lines = list(dict.fromkeys(path.read_text(encoding="utf-8").splitlines()))
        path.unlink()
    return lines
