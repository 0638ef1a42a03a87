"""The DVC that runs a stage: where it is killed without a chance to say so, the stage ends with it."""

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
"""The program or module of a process that runs stages."""
SERVER = "multiprocessing.forkserver"
"""What stands in the code of the process from which `make repro` forks stages."""
LOOK = 1.0
"""Seconds between two looks."""
PATIENCE = 10.0
"""Seconds that a stage has for ending well."""


def runners() -> list[psutil.Process]:
    """The processes between this one and the one that runs it, that one included; none where no DVC does."""
    found: list[psutil.Process] = []
    try:
        for process in psutil.Process().parents():
            found.append(process)
            words = process.cmdline()[:5]
            if RUNNERS & {Path(word).stem if "/" in word else word for word in words} or any(SERVER in word for word in words):
                return found
    except psutil.Error:
        pass
    return []


def end_with_runner() -> None:
    """End this process as Ctrl-C ends it as soon as what runs it is gone: nobody would take its results."""
    watched = runners() if "DVC_STAGE" in os.environ else []
    if not watched:
        return

    def watch() -> None:
        # A number that another process has taken over since does not count as running.
        while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in watched):
            time.sleep(LOOK)
        with suppress(OSError):  # nobody may be there to read it
            print("what ran this stage is gone", file=sys.stderr, flush=True)
        signal.raise_signal(signal.SIGINT)
        time.sleep(PATIENCE)
        for part in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                part.kill()
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()
