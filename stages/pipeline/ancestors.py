"""Watch the DVC process that runs a stage, so that the stage also ends if DVC is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

RUNNERS = {"dvc", "stages.tools.parallel"}
"""Programs and modules that run stages."""
SERVER = "multiprocessing.forkserver"
"""Part of the command line of the process from which `make repro` forks stages."""
POLL_INTERVAL = 1.0
"""Seconds between two checks of the ancestors."""
SHUTDOWN_TIME = 10.0
"""Seconds that an interrupted stage has before it is killed."""


def runners() -> list[psutil.Process]:
    """The ancestors of this process up to and including the one that runs stages; empty if DVC does not run this process."""
    found: list[psutil.Process] = []
    try:
        for process in psutil.Process().parents():
            found.append(process)
            command = process.cmdline()[:5]
            names = {Path(word).stem if "/" in word else word for word in command}
            if RUNNERS & names or any(SERVER in word for word in command):
                return found
    except psutil.Error:
        pass
    return []


def end_with_runner() -> None:
    """Interrupt this process, as Ctrl-C does, once one of its `runners` has ended: nothing would collect its outputs."""
    watched = runners() if "DVC_STAGE" in os.environ else []
    if not watched:
        return

    def watch() -> None:
        # `is_running` is false if another process has taken over the process ID.
        while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in watched):
            time.sleep(POLL_INTERVAL)
        with suppress(OSError):  # the pipe may have no reader any more
            print("the process that ran this stage has ended", file=sys.stderr, flush=True)
        signal.raise_signal(signal.SIGINT)
        time.sleep(SHUTDOWN_TIME)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()
