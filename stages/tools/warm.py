"""Commands of stages in forks of a process that has the libraries loaded.

To load torch, SciPy and matplotlib takes many stages longer than their work. Where the system can fork, that is done once: a
command `python -m stages.…` runs in a fork of multiprocessing's fork server, as it would in a process of its own. Any other
command runs in a shell, as DVC runs it. None of the project's own code is loaded before the fork.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Protocol

import psutil

LIBRARIES = ("matplotlib.figure", "pydantic", "scipy.stats", "sklearn.decomposition", "sklearn.neighbors", "torch")
"""What the fork server loads: what most stages load."""
STAGE = re.compile(r"python -m (stages(?:\.\w+)+)((?: \w+)*)")
"""A command that is a module of this package with the names of methods."""

ONE_AT_A_TIME = threading.Lock()


class Running(Protocol):
    """A command that runs, in a process group of its own."""

    @property
    def pid(self) -> int:
        """The number of the process, and of its group."""
        ...

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, until it has ended."""
        ...

    def wait(self) -> int:
        """The status with which it ended."""
        ...


def start(command: str, shell: str, environment: Mapping[str, str], folder: Path | None = None) -> Running:
    """Start a command with this environment and no input, in a folder or in the one where this process is."""
    found = STAGE.fullmatch(command)
    folder = folder or Path.cwd()
    if found and sys.platform == "linux":
        return Fork(found[1], found[2].split(), environment, folder)
    return Shell([shell, "-c", command], environment, folder)


def send(command: Running, number: signal.Signals) -> None:
    """Send a signal to a command and all that it has started."""
    # One that has just started has no group yet; one that has just ended is no more.
    for to in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            to(command.pid, number)
            break


class Shell:
    """A command in a shell of its own."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
        self.pid = self.process.pid

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, until it has ended."""
        if self.process.stdout:
            with self.process.stdout:
                yield from self.process.stdout

    def wait(self) -> int:
        """The status with which it ended."""
        return self.process.wait()


class Fork:
    """A stage in a fork of the fork server."""

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["stages", *LIBRARIES])
        self.reading, writing = context.Pipe(duplex=False)
        given = (module, list(arguments), dict(environment), str(folder), writing)
        self.process: ForkServerProcess = context.Process(target=_run, args=given)
        with _no_main():
            self.process.start()
        writing.close()
        self.pid = self.process.pid or 0

    def lines(self) -> Iterator[str]:
        """What it prints, line by line, until it has ended."""
        with os.fdopen(os.dup(self.reading.fileno()), encoding="utf-8", errors="replace") as said:
            self.reading.close()
            yield from said

    def wait(self) -> int:
        """The status with which it ended."""
        self.process.join()
        return self.process.exitcode or 0


@contextmanager
def _no_main() -> Iterator[None]:
    """Have multiprocessing find no main module, which it would otherwise import in every fork."""
    with ONE_AT_A_TIME:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _run(module: str, arguments: list[str], environment: dict[str, str], folder: str, output: Connection) -> None:
    """Become what `python -m MODULE ARGUMENTS` is."""
    os.setpgid(0, 0)
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    os.environ.clear()
    os.environ.update(environment)
    import stages

    sys.excepthook = stages.end_in_one_line
    sys.argv[:] = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException:
        kind, error, traceback = sys.exc_info()
        if kind and error:
            sys.excepthook(kind, error, traceback)
        sys.exit(1)


def set_policy(pid: int, policy: int) -> None:
    """Give a process and all that it has started a scheduling policy.

    A process comes before its children: one that it starts meanwhile either is listed or has inherited the policy.
    """
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for thread in process.threads():
            with suppress(ProcessLookupError, PermissionError):
                os.sched_setscheduler(thread.id, policy, os.sched_param(0))
        for child in process.children():
            set_policy(child.pid, policy)
