"""Independent parts of one stage side by side, in processes of their own, where this stage has more than one core.

Each part computes what it would compute alone, so the number of cores changes no result.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
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

    The first one runs in this process, each of the others in a fork of it, as far as there are cores; so the longest one should
    come first, and what the others return has to be picklable.

    Raises:
        UserError, MemoryError: a part raised it, or its process died.
    """
    forks = min(len(parts), cores()) - 1
    if forks < 1 or not hasattr(os, "fork") or sys.platform == "darwin":
        return [part() for part in parts]
    own, *others = _shares(parts, forks + 1)
    with _forked([_all(share) for share in others]) as started:
        results = [_all(own)(), *(_received(child, pipe) for child, pipe in started)]
    found = [None] * len(parts)
    for number, share in enumerate(results):
        found[number :: forks + 1] = share
    return found


def _shares(parts: Sequence[Callable[[], Any]], count: int) -> list[list[Callable[[], Any]]]:
    return [list(parts[number::count]) for number in range(count)]


def _all(parts: Sequence[Callable[[], Any]]) -> Callable[[], list[Any]]:
    return lambda: [part() for part in parts]


@contextmanager
def _forked(shares: Sequence[Callable[[], list[Any]]]) -> Iterator[list[tuple[int, int]]]:
    """Forks of this process, as pairs of a process number and a pipe; those that still run when the block ends are killed."""
    sys.stdout.flush()
    sys.stderr.flush()
    started: list[tuple[int, int]] = []
    try:
        for share in shares:
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.close(reading)
                _work(share, writing)
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


def _work(share: Callable[[], list[Any]], writing: int) -> NoReturn:
    """Write the results of a share, or what it raised, and end this fork without the endings of the process it came from."""
    status = 1
    try:
        try:
            outcome: Any = share()
        except Exception as error:
            outcome = error
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(outcome, pipe, protocol=pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        # An interrupt, too, is told by the process that was forked.
        os._exit(status)


def _received(child: int, reading: int) -> list[Any]:
    """The results of a fork, once it has ended."""
    with os.fdopen(os.dup(reading), "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not content:
        raise UserError(f"a part of this stage ended with {os.waitstatus_to_exitcode(status)}: not enough memory?")
    outcome = pickle.loads(content)  # noqa: S301  # written by a fork of this very process
    if isinstance(outcome, Exception):
        raise outcome
    return list(outcome)
