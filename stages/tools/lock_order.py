"""The order of the entries of dvc.lock."""

from __future__ import annotations

import re
from collections.abc import Sequence

from stages.dag.lock import LOCK
from stages.pipeline import files

ENTRY = re.compile(r"(?m)^  (?=\S)")
"""The start of a stage's entry in dvc.lock."""


def in_order(lock: str, before: str, order: Sequence[str]) -> str:
    """The text of dvc.lock in the order of a serial run.

    Entries of stages that no longer exist are dropped.

    Args:
        lock: the text of dvc.lock.
        before: the text before the run, whose entries keep their order and come first.
        order: the stages in the order of a serial run, which the new entries follow.
    """
    head, entries = _entries(lock)
    entries = {name: entry for name, entry in entries.items() if name in order}
    old = [name for name in _entries(before)[1] if name in entries]
    new = sorted(entries.keys() - set(old), key=order.index)
    return head + "".join(entries[name] for name in (*old, *new))


def _entries(lock: str) -> tuple[str, dict[str, str]]:
    head, *entries = ENTRY.split(lock)
    return head, {entry.split(":\n", 1)[0]: f"  {entry}" for entry in entries}


def put_in_order(before: str, order: Sequence[str]) -> None:
    """Atomically rewrite dvc.lock in the order of a serial run. A truncated lock file is left untouched."""
    now = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    wanted = in_order(now, before, order) if now.endswith("\n") else now
    if wanted != now:
        files.write_text(LOCK, wanted)
