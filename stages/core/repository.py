"""The Git repository around the project, without which DVC does nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from stages.core.errors import UserError
from stages.core.paths import root


def check() -> None:
    """Make sure that DVC can work here.

    Raises:
        UserError: Git is not installed, or the project lies in no Git repository, like one that was unpacked from an archive.
    """
    if not shutil.which("git"):
        raise UserError("git is not on the PATH, and DVC needs it")
    if _git(Path.cwd(), "--is-inside-work-tree") != "true":
        raise UserError(
            "this folder is in no Git repository, which DVC needs: clone the project, "
            "or run `git init && git add --all && git commit --message start`"
        )


def check_experiment() -> None:
    """Refuse an experiment whose result DVC would lose: one that runs in a copy of a shallow clone.

    DVC copies the repository for `--temp` and `--queue`, and cannot fetch the result back into a clone without its history.

    Raises:
        UserError: this is one.
    """
    if "DVC_EXP_NAME" in os.environ and root() != Path.cwd().resolve() and _git(root(), "--is-shallow-repository") == "true":
        raise UserError("DVC would lose this experiment, since the clone is shallow: run `git fetch --unshallow` first")


def _git(folder: Path, question: str) -> str:
    done = subprocess.run(["git", "-C", folder, "rev-parse", question], capture_output=True, text=True, check=False)
    return done.stdout.strip()
