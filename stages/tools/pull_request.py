"""`make pr-report`: report what a branch changes, as Markdown for a pull request.

Prints `dvc metrics diff` and `dvc params diff` against the base branch, and lists the pictures, animations and verdicts that
changed. It reads commits and the working tree and runs no stage. On GitHub, the report is the summary of the job.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.core.command import end, output
from stages.dag.lock import LOCK, entries, outputs
from stages.pipeline import artifacts
from stages.results.tables import table

ANIMATIONS = artifacts.ANIMATIONS
"""The parent of folders that are not in git; dvc.lock has their digests."""
CLAIMS = artifacts.CLAIMS.as_posix()
MAX_ROWS = 60
"""Rows of a table that are shown; further ones are counted."""


def main(base: str) -> None:
    """Print the report against the commit or branch `base`."""
    commit = output("git", "merge-base", base, "HEAD").strip()
    print(f"# Changes against {base} ({commit[:7]})\n")
    print("## Metrics\n\n" + _truncated(output("dvc", "metrics", "diff", "--md", commit), "No metric changed."))
    print("## Params\n\n" + _truncated(output("dvc", "params", "diff", "--md", commit), "No param changed."))
    print("## Verdicts\n\n" + verdicts(_claims(_at(commit, CLAIMS)), _claims(_now(CLAIMS))))
    print("## Pictures\n\n" + _list(changed_pictures(commit), "No picture changed."))


def changed_pictures(commit: str) -> Iterator[str]:
    """Links to the pictures that differ from those of a commit, and the animation folders whose digests differ."""
    for line in output("git", "diff", "--name-status", "--no-renames", commit, "--", "reports/figures").splitlines():
        status, name = line.split("\t", 1)
        yield f"{ {'A': 'new', 'D': 'gone'}.get(status, 'changed') }: {picture(name, gone=status == 'D')}"
    yield from changed_animations(_entries_at(commit), entries())


def changed_animations(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The animation folders whose digests differ between two sets of dvc.lock entries."""
    old, new = (
        {path: digest for outs in outputs(stages).values() for path, digest in outs.items() if ANIMATIONS in Path(path).parents}
        for stages in (before, after)
    )
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            state = "new" if path not in old else "gone" if path not in new else "changed"
            yield f"{state}: {path} (not in git: `dvc repro` makes it)"


def picture(name: str, *, gone: bool = False) -> str:
    """A link to a picture; on GitHub, whose summaries support no relative links, the picture from the job's commit."""
    server, repository, commit = (os.environ.get(f"GITHUB_{key}") for key in ("SERVER_URL", "REPOSITORY", "SHA"))
    if gone:
        return name
    if not (server and repository and commit):
        return f"[{name}]({name})"
    return f"{name}\n\n  ![{name}]({server}/{repository}/raw/{commit}/{name})\n"


def verdicts(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """A Markdown table of the claims whose verdict changed."""
    before, after = ({(m, c): v["verdict"] for m, claims in found.items() for c, v in claims.items()} for found in (old, new))
    rows = [
        [method, claim.replace("_", " "), before.get((method, claim), "–"), after.get((method, claim), "–")]
        for method, claim in sorted(before.keys() | after.keys())
        if before.get((method, claim)) != after.get((method, claim))
    ]
    return table(["method", "claim", "before", "now"], rows) if rows else "No verdict changed.\n"


def _truncated(markdown: str, if_empty: str) -> str:
    """The first `MAX_ROWS` rows of a table."""
    lines = markdown.strip().splitlines()
    head, rows = lines[:2], lines[2:]
    if not rows:
        return f"{if_empty}\n"
    rest = f"\n\n… and {len(rows) - MAX_ROWS} more." if len(rows) > MAX_ROWS else ""
    return "\n".join((*head, *rows[:MAX_ROWS])) + f"{rest}\n"


def _list(items: Iterator[str], if_empty: str) -> str:
    return "\n".join(f"- {item}" for item in items) or if_empty


def _claims(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text or "{}")
    return found


def _entries_at(commit: str) -> dict[str, Any]:
    """The entries of dvc.lock at a commit; none if the commit has no dvc.lock."""
    text = _at(commit, LOCK.name)
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / LOCK.name
        if text:
            lock.write_text(text, encoding="utf-8")
        return entries(lock)


def _at(commit: str, name: str) -> str:
    """The content of a file at a commit; empty if the commit does not have it."""
    done = subprocess.run(["git", "show", f"{commit}:{name}"], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _now(name: str) -> str:
    return Path(name).read_text(encoding="utf-8") if Path(name).exists() else ""


if __name__ == "__main__":
    end(lambda arguments: main(*arguments[:1] or ["origin/main"]))
