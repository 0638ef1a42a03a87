"""Run the commands of stages in forks of a process that has loaded the libraries.

In many stages, loading torch, SciPy and matplotlib takes longer than the work. On Linux they are loaded once: a command
`python -m stages.…` runs in a fork of multiprocessing's fork server, as it would in a new process. Any other command runs in a
shell, as DVC runs it. The project's modules are loaded after the fork.
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
"""Modules that the fork server loads, since most stages need them."""
STAGE = re.compile(r"python -m (stages(?:\.\w+)+)((?: \w+)*)")
"""A command that runs a module of this package with names of methods as arguments."""
MAIN_LOCK = threading.Lock()
"""Held while the main module is hidden."""


class Running(Protocol):
    """A running command in a process group of its own."""

    @property
    def pid(self) -> int:
        """The ID of the process and of its group."""
        ...

    def lines(self) -> Iterator[str]:
        """The lines that it prints, until it ends."""
        ...

    def wait(self) -> int:
        """Wait for its end and return its status, which is negative after a signal."""
        ...


def start(command: str, shell: str, environment: Mapping[str, str], folder: Path | None = None) -> Running:
    """Start a command without input.

    Args:
        command: the command line.
        shell: the shell for a command that is not of the form `STAGE`.
        environment: all its environment variables.
        folder: its working directory; by default that of this process.
    """
    found = STAGE.fullmatch(command)
    folder = folder or Path.cwd()
    if found and sys.platform == "linux":
        return Fork(found[1], found[2].split(), environment, folder)
    return Shell([shell, "-c", command], environment, folder)


def send(command: Running, number: signal.Signals) -> None:
    """Send a signal to a command and its children."""
    # A command that has just started has no group yet; one that has just ended has no process any more.
    for to in (os.killpg, os.kill):
        with suppress(ProcessLookupError):
            to(command.pid, number)
            break


class Shell:
    """A command in a shell."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command,
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
        """The lines that it prints, until it ends."""
        if self.process.stdout:
            with self.process.stdout:
                yield from self.process.stdout

    def wait(self) -> int:
        """Wait for its end and return its status, which is negative after a signal."""
        return self.process.wait()


class Fork:
    """A stage in a fork of the fork server."""

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["stages", *LIBRARIES])
        self.reading, writing = context.Pipe(duplex=False)
        parameters = (module, list(arguments), dict(environment), str(folder), writing)
        self.process: ForkServerProcess = context.Process(target=_run, args=parameters)
        with _without_main_module():
            self.process.start()
        writing.close()
        self.pid = self.process.pid or 0

    def lines(self) -> Iterator[str]:
        """The lines that it prints, until it ends."""
        with os.fdopen(os.dup(self.reading.fileno()), encoding="utf-8", errors="replace") as printed:
            self.reading.close()
            yield from printed

    def wait(self) -> int:
        """Wait for its end and return its status, which is negative after a signal."""
        self.process.join()
        return self.process.exitcode or 0


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module from multiprocessing, which would otherwise import it in every fork."""
    with MAIN_LOCK:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _run(module: str, arguments: list[str], environment: dict[str, str], folder: str, output: Connection) -> None:
    """Run `python -m MODULE ARGUMENTS` in this process."""
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
    """Give a process and its descendants a scheduling policy.

    A process is changed before its children are listed, so a child that it starts meanwhile has inherited the policy.
    """
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for thread in process.threads():
            with suppress(ProcessLookupError, PermissionError):
                os.sched_setscheduler(thread.id, policy, os.sched_param(0))
        for child in process.children():
            set_policy(child.pid, policy)
