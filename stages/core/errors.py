"""Errors that a user can correct, and interrupts. Each ends a command with one line."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn


class UserError(Exception):
    """An error that the user can correct; the message says what to change."""


class InvalidParams(UserError):
    """A configuration file is not valid; the message names the key, the value and the accepted values."""


class TrainingDiverged(UserError):
    """A loss or a trained parameter is not finite; the message names the method and the step, and the seed or the parameter."""


class DataUnavailable(UserError):
    """No source provided the data; the message has the answer of each."""


def watch_interrupts() -> None:
    """Make an interrupt anywhere in the code end this process with status 130 and one line.

    Python raises KeyboardInterrupt in the running code. In a finaliser or the callback of a weak reference, Python prints and
    discards it. While files are closed, another exception can replace it.
    """
    interrupted, before = False, sys.excepthook

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)
        raise AssertionError("the handler raises KeyboardInterrupt")

    def leave() -> NoReturn:
        with suppress(OSError, RuntimeError):
            sys.stdout.flush()
        os.write(2, b"interrupted\n")
        os._exit(130)

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        if isinstance(found.exc_value, KeyboardInterrupt):
            leave()
        if not interrupted:
            sys.__unraisablehook__(found)

    def uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if interrupted:
            leave()
        before(kind, error, traceback)

    # A process that ignores interrupts has another handler, which stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook, sys.excepthook = unraisable, uncaught


# Only in a program of this package, not in a notebook: an interrupt during the imports that follow must end it too.
if getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", "").startswith("stages."):
    watch_interrupts()
