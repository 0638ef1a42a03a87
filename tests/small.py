"""Helpers that run the small pipeline in a temporary clone of the working tree and check the outputs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stages.core.command import environment as plain
from stages.core.paths import ROOT
from stages.dag.lock import LOCK, entries, file_md5, outputs
from stages.tools.small import change_params, shrink
from stages.tracking.store import NOW, WHEN

__all__ = [
    "PARALLEL", "assert_undisturbed", "change_params", "clone", "damage", "environment", "free_port", "kept", "kill", "locked",
    "reproduce", "rest_of", "run", "running", "stages_run", "start", "until",
]  # fmt: skip
PARALLEL = (sys.executable, "-m", "stages.tools.parallel")
"""The command of `make repro`."""
PRINTED = "small.txt"
"""The file beside the reproduced clone with the output of its run."""
COLLECTED = pytest.StashKey[list[pytest.Item]]()
"""All tests that this run collected, before any is deselected."""
IDENTITY = {"NAME": "A", "EMAIL": "a@example.org"}
"""The author and committer of the clone's commits."""


def environment(**more: str) -> dict[str, str]:
    """Environment variables with a git identity and no tracking server, with which `track` logs before it ends; plus `more`."""
    identity = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()}
    return plain(**{**identity, WHEN: NOW, **more})


def run(folder: Path, *command: str, status: int = 0, **more: str) -> str:
    """Run a command in the clone and return its output; fail if its exit status is not `status`."""
    done = subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{output[-4000:]}"
    return output


def reproduce(folder: Path, *arguments: str, status: int = 0, **more: str) -> str:
    """Run the command of `make repro` in the clone and return its output."""
    return run(folder, *PARALLEL, *arguments, status=status, **more)


def clone(folder: Path) -> Path:
    """Copy the working tree into a new repository, with the small params and scikit-learn's 8 × 8 digits as idx files."""
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
    """The stages that DVC ran according to its output, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def running(folder: Path) -> list[psutil.Process]:
    """All processes whose working directory is the clone."""
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


def start(folder: Path, *command: str, **more: str) -> subprocess.Popen[str]:
    """Start a command in the clone, in a session of its own."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(process: subprocess.Popen[str], *texts: str) -> str:
    """Read the output of a process until every text has appeared in a line; returns the output up to that line."""
    printed, waiting = "", set(texts)
    for line in process.stdout or ():
        printed += line
        waiting -= {text for text in waiting if text in line}
        if not waiting:
            return printed
    raise AssertionError(f"{waiting} did not appear in the output:\n{printed}")


def rest_of(process: subprocess.Popen[str]) -> str:
    """Wait for a process to end; returns the rest of its output."""
    with process:
        return process.stdout.read() if process.stdout else ""


def kill(folder: Path, process: subprocess.Popen[str]) -> None:
    """Kill a process group, and all other processes whose working directory is the clone."""
    os.killpg(process.pid, signal.SIGKILL)
    for one in running(folder):
        one.kill()
    process.communicate()


def locked(folder: Path) -> dict[str, str]:
    """The digests of all outputs in a clone's dvc.lock."""
    return {path: md5 for outs in outputs(entries(folder / LOCK)).values() for path, md5 in outs.items()}


def folders(folder: Path) -> list[Path]:
    """The folders among the dependencies and outputs in a clone's dvc.lock."""
    named = {
        entry["path"] for stage in entries(folder / LOCK).values() for kind in ("deps", "outs") for entry in stage.get(kind, [])
    }
    return [folder / name for name in sorted(named) if (folder / name).is_dir()]


def assert_undisturbed(folder: Path, reproduced: Path) -> None:
    """Check that dvc.lock has the digests of an undisturbed run and that every output matches it."""
    assert locked(folder) == locked(reproduced)
    for path, digest in locked(folder).items():
        assert file_md5(folder / path) == digest, path
    assert "up to date" in run(folder, "dvc", "status")


def damage(path: Path, how: str, *, silently: bool = False) -> None:
    """Damage a file in place.

    Args:
        path: the file.
        how: `deleted`, `truncated` or `flipped`, by one bit.
        silently: keep the mode and the times of the file, as a failing disk does.
    """
    content, before = bytearray(path.read_bytes()), path.stat()
    path.chmod(0o644)
    if how == "deleted":
        path.unlink()
        return
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    if silently:
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def kept(folder: Path, path: str) -> Path:
    """The path of an output, or of a file in an output folder, in DVC's cache."""
    digests = locked(folder)

    def cached(digest: str) -> Path:
        return folder / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"

    if path in digests:
        return cached(digests[path])
    parent = next(str(parent) for parent in Path(path).parents if str(parent) in digests)
    listed = {f"{parent}/{entry['relpath']}": entry["md5"] for entry in json.loads(cached(digests[parent]).read_text())}
    return cached(listed[path])
