"""Stages in forks of the fork server: they behave as under `python -m`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from stages.tools import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux only")
SOURCE = """
import os, signal, sys, time
print("name", __name__, __spec__.name, sys.argv[1:])
print("where", os.getcwd(), os.environ.get("GIVEN"), "TAKEN" in os.environ, os.getpgid(0) == os.getpid())
print("loaded", "torch" in sys.modules, "stages.core.errors" in sys.modules, file=sys.stderr)
ending = sys.argv[1]
if ending == "exit": sys.exit(7)
if ending == "message": sys.exit("error: text")
if ending == "raise": raise ZeroDivisionError("divided")
if ending == "interrupt": raise KeyboardInterrupt
if ending == "kill": os.kill(os.getpid(), signal.SIGKILL)
if ending == "wait":
    print("waiting", flush=True)
    time.sleep(60)
"""
"""A module that prints its name, working directory, environment and loaded modules, and ends as its argument says."""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with the code `SOURCE`, which counts as a stage."""
    (tmp_path / "probe.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(warm, "STAGE", re.compile(warm.STAGE.pattern.replace(r"stages(?:\.\w+)+", "probe")))
    return "probe"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}


ENDINGS = {"nothing": 0, "exit": 7, "message": 1, "raise": 1, "interrupt": 130, "kill": -signal.SIGKILL}
"""Arguments of the probe, and the status of a fork."""


@pytest.mark.parametrize(("ending", "status"), ENDINGS.items())
def test_a_stage_in_a_fork_has_the_status_and_output_of_a_new_process(probe: str, ending: str, status: int) -> None:
    command = f"python -m {probe} {ending}"
    running = warm.start(command, "/bin/sh", environment(GIVEN="this"))
    output = "".join(running.lines())
    assert isinstance(running, warm.Fork) and running.wait() == status
    process = subprocess.run(
        [sys.executable, *command.split()[1:]], env=environment(GIVEN="this"), capture_output=True, text=True
    )
    if ending == "interrupt":
        # A new process ends in this way only if it runs a module of the package `stages`, which the probe is not.
        assert output.endswith("interrupted\n")
        return
    assert process.returncode == status
    assert f"name __main__ {probe} ['{ending}']\nwhere {Path.cwd()} this" in output
    expected = {
        line for line in (process.stdout + process.stderr).splitlines() if not line.startswith(("where", "loaded", " "))
    }
    assert expected <= set(output.splitlines())


def test_a_fork_starts_with_the_libraries_but_without_the_projects_code(probe: str) -> None:
    running = warm.start(f"python -m {probe} nothing", "/bin/sh", environment())
    assert "loaded True False" in "".join(running.lines()) and running.wait() == 0


def test_a_fork_has_exactly_the_given_environment(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment()
    monkeypatch.setenv("TAKEN", "1")
    running = warm.start(f"python -m {probe} nothing", "/bin/sh", given)
    assert f"where {Path.cwd()} None False True" in "".join(running.lines()) and running.wait() == 0


def test_a_signal_to_its_process_group_ends_a_fork(probe: str) -> None:
    running = warm.start(f"python -m {probe} wait", "/bin/sh", environment())
    lines = running.lines()
    while "waiting" not in next(lines):
        pass
    began = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    assert "interrupted\n" in list(lines) and running.wait() == 130 and time.monotonic() - began < 30


@pytest.mark.parametrize(
    "command", ["python -m stages.mog.data && echo", "python -m json.tool", "echo stages", "python -m stages.mog.train $(id)"]
)
def test_a_command_of_another_form_is_not_run_in_a_fork(command: str) -> None:
    assert not warm.STAGE.fullmatch(command)


def test_a_command_in_a_shell_keeps_its_output_and_status() -> None:
    running = warm.start("echo out; echo err >&2; exit 3", "/bin/sh", environment())
    assert isinstance(running, warm.Shell)
    assert list(running.lines()) == ["out\n", "err\n"] and running.wait() == 3
