"""Stage track: log the reproduced pipeline to MLflow.

Logging takes longer than all the rest of a small experiment's last stages. So this stage copies what is to be logged into a
spool (stages/tracking/spool.py) and has it logged in the background. `make track` logs all that waits there, and waits for it;
so does this stage where ENERGY_WELLS_TRACK is `now`, and where it is `later` nothing is logged yet.

A failure of the tracking server is a warning: it never fails the pipeline, and a later call completes what is missing. Results
that are not those of dvc.lock are not logged.
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
    """Note the machine; have logged what is not logged yet, and warn where that fails."""
    leftovers.remove()
    try:
        for message in spool.messages():
            _say(message)
        values = read()
        stages = locked_stages(values)
        moved = differences(stages, values)
        if moved:
            print(f"track: nothing is logged, since {moved[0]}: `dvc repro` first")
            return
        spool.put(collect(params, stages, _facts(params, stages)))
    except (OSError, UserError) as error:
        _say(f"warning: not logged to MLflow ({type(error).__name__}: {error}); `make track` tries again")
        return
    if when() == NOW:
        from stages.tracking import log

        log.log_waiting(_say)
    elif when() != LATER:
        nothing = subprocess.DEVNULL
        command = [sys.executable, "-m", "stages.tracking.log"]
        subprocess.Popen(command, cwd=root(), stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
        print("track: this state is being logged")


def _say(message: str) -> None:
    print(message, file=sys.stderr if message.startswith("warning") else sys.stdout, flush=True)


def _facts(params: Params, stages: Mapping[str, Any]) -> dict[str, str]:
    """The facts of the machine that made the results of dvc.lock, noted where DVC has just made them; none where unknown."""
    recorded: dict[str, Any] = {}
    # Where it is missing or damaged it is made anew.
    with suppress(UserError):
        recorded = files.read_json(machine.FILE)
    wanted = machine.record(stages, {})["outputs"]
    if recorded.get("outputs") != wanted:
        # Called by hand, this may see what another machine made.
        recorded = machine.record(stages, machine.facts(params)) if "DVC_STAGE" in os.environ else {"facts": {}}
        if recorded["facts"]:
            files.write_json(machine.FILE, recorded)
    facts: dict[str, str] = recorded["facts"]
    return facts


if __name__ == "__main__":
    runner.run(main, threads=1)
