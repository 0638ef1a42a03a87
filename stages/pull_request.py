"""`make pr-report`: what a branch changes, as Markdown for the page of a pull request.

Prints what `dvc metrics diff` and `dvc params diff` say against the base branch, and which pictures, animations and verdicts
changed. It reads what is committed or in the working tree and runs no stage; on GitHub it is the summary of the job.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from stages.command import end, output
from stages.tables import table

DIGESTS = "reports/digests"
"""Animations are not in git; their digests are."""
SHOWN = 60
"""Rows of a table beyond which the rest is counted, not shown."""


def main(base: str) -> None:
    """Print the report against the commit or branch `base`."""
    commit = output("git", "merge-base", base, "HEAD").strip()
    print(f"# What this changes against {base} ({commit[:7]})\n")
    print("## Metrics\n\n" + _first(output("dvc", "metrics", "diff", "--md", commit), "No figure moved."))
    print("## Params\n\n" + _first(output("dvc", "params", "diff", "--md", commit), "No param changed."))
    print("## Verdicts\n\n" + verdicts(_at(commit, "reports/claims.json"), _now("reports/claims.json")))
    print("## Pictures\n\n" + _list(changed_pictures(commit), "No picture changed."))


def changed_pictures(commit: str) -> Iterator[str]:
    """The pictures that differ from those of the commit, as links, and the animations, whose digests do."""
    for line in output("git", "diff", "--name-status", "--no-renames", commit, "--", "reports/figures").splitlines():
        status, name = line.split("\t", 1)
        yield f"{ {'A': 'new', 'D': 'gone'}.get(status, 'changed') }: {picture(name, gone=status == 'D')}"
    for name in output("git", "diff", "--name-only", "--no-renames", commit, "--", DIGESTS).splitlines():
        old, new = _at(commit, name), _now(name)
        folder = PurePosixPath("reports/figures") / PurePosixPath(name).relative_to(DIGESTS).with_suffix("")
        for file in sorted(file for file in old.keys() | new.keys() if not file.endswith(".png")):
            if old.get(file) != new.get(file):
                state = "new" if file not in old else "gone" if file not in new else "changed"
                yield f"{state}: {folder}/{file} (not in git: `dvc repro` makes it)"


def picture(name: str, *, gone: bool = False) -> str:
    """A link to a picture; on GitHub, whose summaries know no relative links, the picture itself of the job's commit."""
    server, repository, commit = (os.environ.get(f"GITHUB_{key}") for key in ("SERVER_URL", "REPOSITORY", "SHA"))
    if gone:
        return name
    if not (server and repository and commit):
        return f"[{name}]({name})"
    return f"{name}\n\n  ![{name}]({server}/{repository}/raw/{commit}/{name})\n"


def verdicts(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The claims that are decided otherwise than before."""
    before, after = ({(m, c): v["verdict"] for m, claims in found.items() for c, v in claims.items()} for found in (old, new))
    rows = [
        [method, claim.replace("_", " "), before.get((method, claim), "–"), after.get((method, claim), "–")]
        for method, claim in sorted(before.keys() | after.keys())
        if before.get((method, claim)) != after.get((method, claim))
    ]
    return table(["method", "claim", "before", "now"], rows) if rows else "No verdict changed.\n"


def _first(markdown: str, otherwise: str) -> str:
    """The table without what is more than can be read on a page."""
    lines = markdown.strip().splitlines()
    head, rows = lines[:2], lines[2:]
    if not rows:
        return f"{otherwise}\n"
    rest = f"\n\n… and {len(rows) - SHOWN} more." if len(rows) > SHOWN else ""
    return "\n".join((*head, *rows[:SHOWN])) + f"{rest}\n"


def _list(items: Iterator[str], otherwise: str) -> str:
    return "\n".join(f"- {item}" for item in items) or otherwise


def _at(commit: str, name: str) -> dict[str, Any]:
    """A JSON file as it was; empty where it was not."""
    done = subprocess.run(["git", "show", f"{commit}:{name}"], capture_output=True, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def _now(name: str) -> dict[str, Any]:
    try:
        with open(name, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return found


if __name__ == "__main__":
    end(lambda arguments: main(*arguments[:1] or ["origin/main"]))
