"""Checks of the Git repository around the project, which DVC requires."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from stages.core.errors import UserError
from stages.core.paths import root


def check() -> None:
    """Check that DVC can work here.

    Raises:
        UserError: Git is not installed, or the project is not in a Git repository, as after unpacking an archive.
    """
    if not shutil.which("git"):
        raise UserError("git is not on the PATH, and DVC requires it")
    if _git(Path.cwd(), "--is-inside-work-tree") != "true":
        raise UserError(
            "this folder is not in a Git repository, which DVC requires: clone the project, "
            "or run `git init && git add --all && git commit --message start`"
        )


def check_experiment() -> None:
    """Refuse an experiment that runs in a copy of a shallow clone, since DVC would lose its result.

    For `--temp` and `--queue` DVC copies the repository, and it cannot fetch the result back into a clone without history.

    Raises:
        UserError: this is such an experiment.
    """
    if "DVC_EXP_NAME" in os.environ and root() != Path.cwd().resolve() and _git(root(), "--is-shallow-repository") == "true":
        raise UserError("DVC would lose this experiment, since the clone is shallow: run `git fetch --unshallow` first")


def _git(folder: Path, question: str) -> str:
    done = subprocess.run(["git", "-C", folder, "rev-parse", question], capture_output=True, text=True, check=False)
    return done.stdout.strip()
