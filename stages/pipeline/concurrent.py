"""Independent parts of one stage side by side, in processes of their own, where this stage has more than one core.

Each part computes what it would compute alone, so the number of cores changes no result.
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
"""Environment variable with the cores that a stage may use; `make repro` sets it, since it runs several stages at a time."""


def cores() -> int:
    """How many cores this stage may use: all of those that the process may run on, unless it was told otherwise."""
    given = os.environ.get(CORES, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def concurrently(*parts: Callable[[], Any]) -> list[Any]:
    """The results of functions that do not depend on each other, in their order.

    They run in this process and in as many forks of it as there are cores for; whoever has ended one takes the next. So the
    longest one should come first, and what they return has to be picklable.

    Raises:
        UserError, MemoryError: a part raised it, or its process died.
    """
    forks = min(len(parts), cores()) - 1
    if forks < 1 or not can_fork():
        return [part() for part in parts]
    with _numbers(len(parts)) as numbers:

        def work() -> dict[int, Any]:
            # A byte of a pipe goes to one reader alone; at the end there is none.
            return {number[0]: parts[number[0]]() for number in iter(lambda: os.read(numbers, 1), b"")}

        with _forked(work, forks) as started:
            found = work()
            while started:
                # One that is waited for is no longer among those that are killed.
                found |= _received(*started.pop(0))
    return [found[number] for number in range(len(parts))]


def can_fork() -> bool:
    """Whether a fork of this process could go on working: on macOS it could not, nor after CUDA was used."""
    torch = sys.modules.get("torch")
    return hasattr(os, "fork") and sys.platform != "darwin" and not (torch and torch.cuda.is_initialized())


@contextmanager
def _numbers(count: int) -> Iterator[int]:
    """A pipe with the numbers of all parts, to read from."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(bytes(range(count)))
        yield reading
    finally:
        os.close(reading)


@contextmanager
def _forked(work: Callable[[], dict[int, Any]], count: int) -> Iterator[list[tuple[int, int]]]:
    """Forks of this process that work, as pairs of a process number and a pipe; at the end, what still runs is killed."""
    sys.stdout.flush()
    sys.stderr.flush()
    started: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.close(reading)
                _end_with(work, writing)
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


def _end_with(work: Callable[[], dict[int, Any]], writing: int) -> NoReturn:
    """Write the results of a fork, or what it raised, and end this fork without the endings of the process it came from."""
    status = 1
    try:
        try:
            outcome: Any = work()
        except Exception as error:
            outcome = error
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(outcome, pipe, protocol=pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        # An interrupt, too, is told by the process that was forked.
        os._exit(status)


def _received(child: int, reading: int) -> dict[int, Any]:
    """The results of a fork by their numbers, once it has ended."""
    with os.fdopen(os.dup(reading), "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not content:
        raise UserError(f"a part of this stage ended with {os.waitstatus_to_exitcode(status)}: not enough memory?")
    outcome = pickle.loads(content)  # noqa: S301  # written by a fork of this very process
    if isinstance(outcome, Exception):
        raise outcome
    return dict(outcome)
