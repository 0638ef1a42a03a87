"""Stage track: log the reproduced pipeline to MLflow.

Logging takes longer than the last stages of a small experiment together. This stage therefore copies the state into a spool
(stages/tracking/spool.py) and starts a background process that logs it. `make track` logs the whole spool and waits for it, as
does this stage if ENERGY_WELLS_TRACK is `now`; if it is `later`, the state stays in the spool.

A failure of the tracking server is a warning and never fails the pipeline; a later call logs what is missing. Results that
differ from dvc.lock are not logged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from stages.config.params import Params, read
from stages.core.errors import UserError
from stages.core.paths import root
from stages.dag import leftovers, machine
from stages.dag.lock import differences, locked_stages
from stages.pipeline import files, runner
from stages.tracking import spool
from stages.tracking.state import collect
from stages.tracking.store import LATER, NOW, when


def main(params: Params) -> None:
    """Record the machine and log the current state; warn if that fails."""
    leftovers.remove()
    try:
        for message in spool.messages():
            _report(message)
        values = read()
        stages = locked_stages()
        found = differences(stages, values)
        if found:
            print(f"track: nothing is logged, since {found[0]}: run `dvc repro` first")
            return
        spool.put(collect(params, stages, _facts(params, stages)))
    except (OSError, UserError) as error:
        _report(f"warning: not logged to MLflow ({type(error).__name__}: {error}); `make track` tries again")
        return
    if when() == NOW:
        from stages.tracking import log

        log.log_waiting(_report)
    elif when() != LATER:
        devnull = subprocess.DEVNULL
        command = [sys.executable, "-m", "stages.tracking.log"]
        subprocess.Popen(command, cwd=root(), stdin=devnull, stdout=devnull, stderr=devnull, start_new_session=True)
        print("track: logging this state in the background")


def _report(message: str) -> None:
    print(message, file=sys.stderr if message.startswith("warning") else sys.stdout, flush=True)


def _facts(params: Params, stages: Mapping[str, Any]) -> dict[str, str]:
    """Environment facts of the machine that made the results in dvc.lock; recorded when DVC runs, empty if unknown."""
    recorded: dict[str, Any] = {}
    # A missing or damaged file is rewritten.
    with suppress(UserError):
        recorded = files.read_json(machine.FILE)
    wanted = machine.record(stages, {})["outputs"]
    if recorded.get("outputs") != wanted:
        # Without DVC, the results may come from another machine.
        recorded = machine.record(stages, machine.facts(params)) if "DVC_STAGE" in os.environ else {"facts": {}}
        if recorded["facts"]:
            files.write_json(machine.FILE, recorded)
    facts: dict[str, str] = recorded["facts"]
    return facts


if __name__ == "__main__":
    runner.run(main, threads=1)
