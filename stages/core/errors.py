"""Errors that a user can correct, and interrupts: each ends a command with one line."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn


class UserError(Exception):
    """Something the user can change; the message says what."""


class InvalidParams(UserError):
    """A value of params.yaml is not acceptable; the message names the key, the value and what is accepted."""


class TrainingDiverged(UserError):
    """A loss or a trained parameter is not finite; the message names the method and the step, and the seed or the parameter."""


class DataUnavailable(UserError):
    """No source gave the data; the message says what each of them answered."""


def watch_interrupts() -> None:
    """Make an interrupt end this process with status 130 and one line, wherever it occurs.

    Python raises KeyboardInterrupt in the code that is running. If that is a finaliser or a weak reference's callback, Python
    prints and discards the exception; and other exceptions can replace it while files are closed.
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

    # A process that ignores interrupts has another handler.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook, sys.excepthook = unraisable, uncaught
