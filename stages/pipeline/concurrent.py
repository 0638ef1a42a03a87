"""Run independent parts of one stage in parallel processes if the stage may use more than one core.

The parts do not share state, so the number of cores changes no result.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from stages.core.errors import UserError

CORES = "ENERGY_WELLS_CORES"
"""Environment variable: the number of cores a stage may use. `make repro` sets it, since it runs several stages at once."""


def cores() -> int:
    """The number of cores this stage may use: `CORES` if set, otherwise all cores in the affinity mask of the process."""
    given = os.environ.get(CORES, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def concurrently(*parts: Callable[[], Any]) -> list[Any]:
    """Run independent functions and return their results in order.

    This process and its forks, one process per core, take the functions from a queue, so the longest one should come first.
    Results must be picklable.

    Raises:
        UserError: a forked process died.
        Exception: whatever a function raised.
    """
    forks = min(len(parts), cores()) - 1
    if forks < 1 or not can_fork():
        return [part() for part in parts]
    with _queue(len(parts)) as queue:

        def work() -> dict[int, Any]:
            # Each byte of a pipe reaches exactly one reader; an empty read means the queue is exhausted.
            return {number[0]: parts[number[0]]() for number in iter(lambda: os.read(queue, 1), b"")}

        with _forked(work, forks) as started:
            found = work()
            while started:
                child, reading = started[0]
                with os.fdopen(os.dup(reading), "rb") as pipe:
                    content = pipe.read()
                # From here on the fork ends by itself; `_forked` must not kill a process ID that was reaped.
                os.close(started.pop(0)[1])
                found |= _collect(child, content)
    return [found[number] for number in range(len(parts))]


def can_fork() -> bool:
    """Whether a fork of this process would work: not on macOS, and not once CUDA is initialised."""
    torch = sys.modules.get("torch")
    return hasattr(os, "fork") and sys.platform != "darwin" and not (torch and torch.cuda.is_initialized())


@contextmanager
def _queue(count: int) -> Iterator[int]:
    """The reading end of a pipe that holds the numbers 0 to count − 1, a byte each."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(bytes(range(count)))
        yield reading
    finally:
        os.close(reading)


@contextmanager
def _forked(work: Callable[[], dict[int, Any]], count: int) -> Iterator[list[tuple[int, int]]]:
    """Fork `count` processes that call `work`; yields pairs (process ID, result pipe). Kills the remaining ones on exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    started: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            reading, writing = os.pipe()
            try:
                child = os.fork()
            except OSError:
                os.close(reading)
                os.close(writing)
                raise
            if not child:
                os.close(reading)
                _run_and_exit(work, writing)
            os.close(writing)
            started.append((child, reading))
        yield started
    finally:
        for child, reading in started:
            with suppress(OSError):
                os.close(reading)
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _run_and_exit(work: Callable[[], dict[int, Any]], writing: int) -> NoReturn:
    """Write the results or the exception of a fork to its pipe, then exit without the parent's exit handlers."""
    status = 1
    try:
        try:
            outcome: Any = work()
        except Exception as error:
            outcome = error
        try:
            content = pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # objects raise errors of any type
            content = pickle.dumps(TypeError(f"a result or an error of a fork cannot be pickled: {error}"))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)
        status = 0
    finally:
        # Also on an interrupt: the parent reports it.
        os._exit(status)


def _collect(child: int, content: bytes) -> dict[int, Any]:
    """The results of a fork by the number of the part, from what it wrote to its pipe."""
    _, status = os.waitpid(child, 0)
    if status or not content:
        raise UserError(f"a process of this stage exited with status {os.waitstatus_to_exitcode(status)}: not enough memory?")
    outcome = pickle.loads(content)  # noqa: S301  # written by a fork of this process
    if isinstance(outcome, Exception):
        raise outcome
    return dict(outcome)
