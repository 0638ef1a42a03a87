"""Where states wait for being logged: copies of all that is logged, so that the working directory may go on or vanish.

Every state is a folder beside the store, with `state.json` and its files. It appears complete or not at all, and is removed
when MLflow has it; what could not be logged is logged the next time. `messages` holds what was to be said when nobody listened.
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


def place() -> Path:
    """The folder of the spool."""
    return folder() / ".mlflow-spool"


def put(state: State) -> None:
    """Keep a state with copies of its files."""
    name = digests.of_content([state.whole.name, state.whole.tags["lock_digest"]])[:16]
    there, making = place() / name, place() / f".unfinished.{name}"
    if there.exists():
        return
    shutil.rmtree(making, ignore_errors=True)
    for path in sorted(state.paths()):
        copy = making / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    files.write_json(making / STATE, state.to_json())
    making.rename(there)


def waiting() -> list[Path]:
    """The folders of all states, the oldest first."""
    return sorted(place().glob("[0-9a-f]*"), key=lambda entry: entry.stat().st_mtime)


def read(entry: Path) -> State | None:
    """The state in a folder; None where it is damaged."""
    try:
        return State.from_json(files.read_json(entry / STATE))
    except (UserError, TypeError, KeyError):
        return None


def put_last(entry: Path) -> None:
    """Have a state wait behind all others."""
    with suppress(OSError):
        os.utime(entry)


def drop(entry: Path) -> None:
    """Remove a state that is logged or damaged."""
    shutil.rmtree(entry, ignore_errors=True)


def note(message: str) -> None:
    """Keep a message for whoever looks next."""
    place().mkdir(parents=True, exist_ok=True)
    with (place() / "messages").open("a", encoding="utf-8") as file:
        file.write(f"{message}\n")


def messages() -> list[str]:
    """The messages since this was last asked, each once."""
    path = place() / "messages"
    lines: list[str] = []
    with suppress(FileNotFoundError):
        lines = list(dict.fromkeys(path.read_text(encoding="utf-8").splitlines()))
        path.unlink()
    return lines
