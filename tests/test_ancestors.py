"""A stage ends once the DVC process that runs it has ended, even if that process was killed."""

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

SOURCE = """
import sys, threading, time
from stages.pipeline.ancestors import end_with_runner, runners
end_with_runner()
print("begun", len(runners()), flush=True)
time.sleep(600)
"""
"""A stage that prints the number of its runners and does not end by itself."""


WRAPPERS = [
    pytest.param("sh -c '{}; true'", id="shell"),
    pytest.param("", id="no shell", marks=pytest.mark.nightly),
    pytest.param("sh -c \"sh -c '{}; true'; true\"", id="nested shells", marks=pytest.mark.nightly),
]
"""Commands through which DVC starts the stage."""


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_stage_ends_with_dvc_but_not_with_the_process_that_started_dvc(tmp_path: Path, wrapper: str) -> None:
    (tmp_path / "stage.py").write_text(SOURCE)
    (tmp_path / "dvc").write_text("import subprocess, sys\nsubprocess.run(sys.argv[1], shell=True)\n")
    command = (wrapper or "{}").format(f"exec {sys.executable} stage.py" if not wrapper else f"{sys.executable} stage.py")
    dvc = [sys.executable, "dvc", command]
    environment = small.environment(DVC_STAGE="some", PYTHONPATH=str(ROOT))
    # This shell starts DVC and ends; the stage continues.
    shell = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -c 'import subprocess, sys; subprocess.Popen(sys.argv[1:])' \"$@\"", "sh", *dvc],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        with shell:
            small.until(shell, "begun")
        time.sleep(2.5)
        running = [(process, command_line(process)) for process in small.running(tmp_path)]
        (stage,) = [process for process, words in running if words[1:2] == ["stage.py"]]
        (runner,) = [process for process, words in running if words[1:2] == ["dvc"]]
        runner.kill()
        _, alive = psutil.wait_procs([stage], timeout=20)
        assert not alive
    finally:
        for process in small.running(tmp_path):
            process.kill()


def command_line(process: psutil.Process) -> list[str]:
    """The command line of a process, empty if the process has just ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_stage_started_without_dvc_watches_no_process(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(SOURCE.replace("time.sleep(600)", "print(threading.active_count())"))
    environment = small.environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "stage.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "begun 0\n1\n"


@pytest.mark.integration
def test_killing_the_experiment_queue_ends_its_training(copied: Path) -> None:
    small.change_params(copied, {"dsm": {"train": {"steps": 1_000_000}}})
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=long")
    small.run(copied, "dvc", "exp", "run", "--queue", "-S", "dsm.sigma=0.35")
    # The worker inherits the output: reading it would wait for the end of the training.
    unread = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["dvc", "queue", "start"], cwd=copied, env=small.environment(), check=True, **unread)

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
    for process in alive:
        os.kill(process.pid, signal.SIGKILL)
    assert not alive
