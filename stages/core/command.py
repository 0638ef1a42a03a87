"""What the commands that are no stages share: running other commands, and ending with one line on a user's mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from stages.core.errors import UserError, watch_interrupts

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask a command to end."""


def output(*command: str) -> str:
    """What a command prints.

    Raises:
        UserError: it failed; the message is the last line that it wrote to stderr.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command[:3])}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    """That of a user who has this Python's tools on the path, and nothing that steers DVC, git or MLflow; and `more`."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{keep.get('PATH', os.defpath)}"
    return {**keep, "PATH": path, "DVC_NO_ANALYTICS": "1", **more}


def end(main: Callable[[Sequence[str]], None]) -> None:
    """Run `main` with the arguments of the command line; status 1 on a mistake, 130 where it is stopped."""
    for ending in ENDINGS:
        # What this starts in sessions of their own has to be stopped too. A script that puts a command into the background
        # has it and all that it starts ignore interrupts, and stages are stopped by one.
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
