"""The small pipeline in a temporary clone of the working tree: how its commands are run, and what they should leave."""

from __future__ import annotations

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
SAID = "small.txt"
"""The file beside the reproduced clone with what its run printed."""
COLLECTED = pytest.StashKey[list[pytest.Item]]()
"""All tests that were found in the files of this run."""
WHO = {"NAME": "A", "EMAIL": "a@example.org"}


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who has a name for git, no tracking server, and wants runs logged before a command ends."""
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in WHO.items()}
    return plain(**{**who, WHEN: NOW, **more})


def run(folder: Path, *command: str, status: int = 0, **more: str) -> str:
    """Run a command in the clone and return what it printed; another exit status than expected is a failure."""
    done = subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{output[-4000:]}"
    return output


def reproduce(folder: Path, *arguments: str, status: int = 0, **more: str) -> str:
    """Run the command of `make repro` in the clone and return what it printed."""
    return run(folder, *PARALLEL, *arguments, status=status, **more)


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


def running(folder: Path) -> list[psutil.Process]:
    """All processes that work in the clone."""
    return [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]


def start(folder: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """Start a command in the clone, in a session of its own."""
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(process: subprocess.Popen[str], *texts: str) -> str:
    """What a process prints until each of the texts has been in a line of it; the last of these lines is the last."""
    said, waiting = "", set(texts)
    for line in process.stdout or ():
        said += line
        waiting -= {text for text in waiting if text in line}
        if not waiting:
            return said
    raise AssertionError(f"{waiting} was never said:\n{said}")


def rest_of(process: subprocess.Popen[str]) -> str:
    """What else a process prints, until it ends."""
    with process:
        return process.stdout.read() if process.stdout else ""


def kill(folder: Path, process: subprocess.Popen[str]) -> None:
    """Kill a process that works in the clone, and all that it has started there."""
    os.killpg(process.pid, signal.SIGKILL)
    for one in running(folder):
        one.kill()
    process.communicate()


def locked(folder: Path) -> dict[str, str]:
    """The digests of all outputs in a clone's dvc.lock."""
    return {path: md5 for outs in outputs(entries(folder / LOCK)).values() for path, md5 in outs.items()}


def folders(folder: Path) -> list[Path]:
    """The folders among the deps and outputs of all stages in a clone's dvc.lock."""
    named = {
        entry["path"] for stage in entries(folder / LOCK).values() for kind in ("deps", "outs") for entry in stage.get(kind, [])
    }
    return [folder / name for name in sorted(named) if (folder / name).is_dir()]


def assert_undisturbed(folder: Path, reproduced: Path) -> None:
    """The lock has the digests of an undisturbed run, and every output is what the lock says."""
    assert locked(folder) == locked(reproduced)
    for path, digest in locked(folder).items():
        assert file_md5(folder / path) == digest, path
    assert "up to date" in run(folder, "dvc", "status")


def damage(path: Path, how: str, *, in_secret: bool = False) -> None:
    """Damage a file in place, as a person would, or a disk: `in_secret`, which keeps its mode and its times."""
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
    if in_secret:
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def kept(folder: Path, path: str) -> Path:
    """Where DVC's cache has an output."""
    digest = locked(folder)[path]
    return folder / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"
