"""A stage ends with the DVC that runs it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.core.paths import ROOT
from tests import small

STAGE = """
import sys, threading, time
from stages.pipeline.ancestors import end_with_runner, runners
end_with_runner()
print("begun", len(runners()), flush=True)
time.sleep(600)
"""


SLOW = [pytest.param(words, marks=pytest.mark.nightly) for words in ("", "sh -c \"sh -c '{}; true'; true\"")]


@pytest.mark.parametrize("between", ["sh -c '{}; true'", *SLOW])
def test_a_stage_ends_with_what_runs_it_and_with_no_other(tmp_path: Path, between: str) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "dvc").write_text("import subprocess, sys\nsubprocess.run(sys.argv[1], shell=True)\n")
    command = (between or "{}").format(f"exec {sys.executable} stage.py" if not between else f"{sys.executable} stage.py")
    words = [sys.executable, "dvc", command]
    environment = small.environment(DVC_STAGE="some", PYTHONPATH=str(ROOT))
    # Whatever started DVC may end: its stage goes on.
    shell = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -c 'import subprocess, sys; subprocess.Popen(sys.argv[1:])' \"$@\"", "sh", *words],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        with shell:
            small.until(shell, "begun")
        time.sleep(2.5)
        ran = [(one, words_of(one)) for one in small.running(tmp_path)]
        (stage,) = [one for one, words in ran if words[1:2] == ["stage.py"]]
        (runner,) = [one for one, words in ran if words[1:2] == ["dvc"]]
        runner.kill()
        _, alive = psutil.wait_procs([stage], timeout=20)
        assert not alive
    finally:
        for one in small.running(tmp_path):
            one.kill()


def words_of(process: psutil.Process) -> list[str]:
    """The command line of a process, of which there is none where it has just ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_stage_that_a_person_starts_watches_nobody(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(STAGE.replace("time.sleep(600)", "print(threading.active_count())"))
    environment = small.environment(PYTHONPATH=str(ROOT))
    said = subprocess.run(
        [sys.executable, "stage.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout == "begun 0\n1\n"


@pytest.mark.integration
def test_a_queue_that_is_killed_leaves_no_training_behind(copied: Path) -> None:
    small.change_params(copied, {"dsm": {"train": {"steps": 1_000_000}}})
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=long")
    small.run(copied, "dvc", "exp", "run", "--queue", "-S", "dsm.sigma=0.35")
    small.run(copied, "dvc", "queue", "start")

    def training() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            inside = str(process.info["cwd"] or "").startswith(str(copied))
            if inside and "stages.mog.train" in (process.info["cmdline"] or []):
                found.append(process)
        return found

    deadline = time.monotonic() + 120
    while not training():
        assert time.monotonic() < deadline
        time.sleep(0.5)
    small.run(copied, "dvc", "queue", "stop", "--kill")
    _, alive = psutil.wait_procs(training(), timeout=30)
    for one in alive:
        os.kill(one.pid, signal.SIGKILL)
    assert not alive
