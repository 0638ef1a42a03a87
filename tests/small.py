"""The small pipeline in a temporary clone of the working tree, and how its commands are run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from stages.imports import ROOT
from stages.small import change_params, shrink

__all__ = ["change_params", "clone", "environment", "free_port", "run", "running", "stages_run"]


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who has the project's tools on the path and no tracking server."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{keep['PATH']}"
    return {**keep, **who, "GIT_COMMITTER_EMAIL": "a@example.org", "PATH": path, "DVC_NO_ANALYTICS": "1", **more}


def run(folder: Path, *command: str, status: int = 0, **more: str) -> str:
    """Run a command in the clone and return what it printed; another exit status than expected is a failure."""
    done = subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{output[-4000:]}"
    return output


def clone(folder: Path) -> Path:
    """A clone of the working tree, committed, with the small params and scikit-learn's 8 × 8 digits as idx files."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    for name in filter(None, names.split("\0")):
        keeps = not name.startswith("reports/") or name.startswith("reports/studies/")
        keeps = keeps and name != "dvc.lock" and (ROOT / name).is_file()
        if keeps:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    shrink(folder)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message=small")
    return folder


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def stages_run(output: str) -> list[str]:
    """The stages that DVC says it ran, in their order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def running(folder: Path) -> list[str]:
    """The command lines of all processes that work in the clone."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(folder):
            found.append(" ".join(process.info["cmdline"] or []))
    return found
