"""Stages in forks: they are what `python -m` makes of them."""

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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")
SOURCE = """
import os, signal, sys, time
print("name", __name__, __spec__.name, sys.argv[1:])
print("where", os.getcwd(), os.environ.get("GIVEN"), "TAKEN" in os.environ, os.getpgid(0) == os.getpid())
print("loaded", "torch" in sys.modules, "stages.core.errors" in sys.modules, file=sys.stderr)
what = sys.argv[1]
if what == "exit": sys.exit(7)
if what == "message": sys.exit("error: said")
if what == "raise": raise ZeroDivisionError("divided")
if what == "interrupt": raise KeyboardInterrupt
if what == "kill": os.kill(os.getpid(), signal.SIGKILL)
if what == "wait":
    print("waiting", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that stands for a stage: it says where it is and ends as it is told."""
    (tmp_path / "probe.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(warm, "STAGE", re.compile(warm.STAGE.pattern.replace(r"stages(?:\.\w+)+", "probe")))
    return "probe"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}


ENDINGS = {"nothing": 0, "exit": 7, "message": 1, "raise": 1, "interrupt": 130, "kill": -signal.SIGKILL}


@pytest.mark.parametrize(("what", "status"), ENDINGS.items())
def test_a_stage_in_a_fork_ends_and_speaks_as_one_of_its_own(probe: str, what: str, status: int) -> None:
    command = f"python -m {probe} {what}"
    running = warm.start(command, "/bin/sh", environment(GIVEN="this"))
    said = "".join(running.lines())
    assert isinstance(running, warm.Fork) and running.wait() == status
    alone = subprocess.run(
        [sys.executable, *command.split()[1:]], env=environment(GIVEN="this"), capture_output=True, text=True
    )
    if what == "interrupt":
        # Only a module of the package, which the probe is not, ends so by itself.
        assert said.endswith("interrupted\n")
        return
    assert alone.returncode == status
    assert f"name __main__ {probe} ['{what}']\nwhere {Path.cwd()} this" in said
    own = {line for line in (alone.stdout + alone.stderr).splitlines() if not line.startswith(("where", "loaded", " "))}
    assert own <= set(said.splitlines())


def test_libraries_are_loaded_before_and_the_projects_code_is_not(probe: str) -> None:
    running = warm.start(f"python -m {probe} nothing", "/bin/sh", environment())
    assert "loaded True False" in "".join(running.lines()) and running.wait() == 0


def test_the_environment_is_the_one_that_is_given(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = environment()
    monkeypatch.setenv("TAKEN", "1")
    running = warm.start(f"python -m {probe} nothing", "/bin/sh", given)
    assert f"where {Path.cwd()} None False True" in "".join(running.lines()) and running.wait() == 0


def test_a_signal_to_its_group_ends_it(probe: str) -> None:
    running = warm.start(f"python -m {probe} wait", "/bin/sh", environment())
    said = running.lines()
    while "waiting" not in next(said):
        pass
    began = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    assert "interrupted\n" in list(said) and running.wait() == 130 and time.monotonic() - began < 30


@pytest.mark.parametrize(
    "command", ["python -m stages.mog.data && echo", "python -m json.tool", "echo stages", "python -m stages.mog.train $(id)"]
)
def test_any_other_command_has_a_shell(command: str) -> None:
    assert not warm.STAGE.fullmatch(command)


def test_a_shells_command_says_what_it_says_and_ends_as_it_ends() -> None:
    running = warm.start("echo out; echo err >&2; exit 3", "/bin/sh", environment())
    assert isinstance(running, warm.Shell)
    assert list(running.lines()) == ["out\n", "err\n"] and running.wait() == 3
