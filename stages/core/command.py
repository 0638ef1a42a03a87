"""Shared by the commands that are not stages: run other commands, and report a user's mistake in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.core.errors import UserError, watch_interrupts

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a command to stop."""


def output(*command: str) -> str:
    """Run a command and return its stdout.

    Raises:
        UserError: the command failed; the message is the last line of its stderr.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command[:3])}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    """The environment with this Python's tools first on the PATH, without variables of DVC, Git and MLflow, and with `more`."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{keep.get('PATH', os.defpath)}"
    return {**keep, "PATH": path, "DVC_NO_ANALYTICS": "1", **more}


def end(main: Callable[[Sequence[str]], None]) -> None:
    """Run `main` with the command-line arguments. Exit with status 1 on a user's mistake and 130 on a signal to stop."""
    for ending in ENDINGS:
        # Child processes in sessions of their own have to be stopped too. A shell script makes its background commands, and
        # all their children, ignore interrupts; but an interrupt is what stops stages.
        signal.signal(ending, signal.default_int_handler)
    watch_interrupts()
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)
