"""What goes wrong while a pipeline runs: it is said, and afterwards `dvc repro` ends in the bytes of an undisturbed run.

`make nightly` runs all of it; what takes less than a minute is in `make test` too.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from stages.core.paths import ROOT
from stages.mnist.datasets.sources import write_idx
from tests import small
from tests.test_pipeline import runs

KILLS = 10
INTERRUPTS = 40


@pytest.mark.hostile
def test_an_interrupted_stage_says_so_in_one_line_and_leaves_no_output(copied: Path) -> None:
    small.change_params(copied, {"dsm": {"train": {"steps": 100000}}})
    model = copied / "models/mog/dsm.safetensors"
    model.unlink()
    stage = small.start(copied, sys.executable, "-m", "stages.mog.train", "dsm")
    small.until(stage, "step")
    stage.send_signal(signal.SIGINT)
    rest = small.rest_of(stage)
    assert stage.returncode == 130
    assert [line for line in rest.splitlines() if ": step" not in line] == ["interrupted"]
    assert not model.exists()


INTERRUPTED = """
import os, signal
from stages.core.errors import watch_interrupts

class Finaliser:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

class Closing:
    def __enter__(self):
        pass
    def __exit__(self, *_):
        raise ValueError("closed half way")

watch_interrupts()
"""


@pytest.mark.hostile
@pytest.mark.parametrize("meets", ["Finaliser()", "with Closing(): os.kill(os.getpid(), signal.SIGINT)"])
def test_an_interrupt_is_one_line_whatever_it_meets(meets: str) -> None:
    said = small.run(ROOT, sys.executable, "-c", f"{INTERRUPTED}{meets}\nprint('went on')", status=130)
    assert said == "interrupted\n"


@pytest.mark.nightly
def test_an_interrupt_at_any_moment_of_a_stage_is_one_line(
    copied: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", INTERRUPTS)
    moments, endings = random.Random(0), list[int]()
    while len(endings) < INTERRUPTS:
        stage = small.start(copied, sys.executable, "-m", "stages.mog.figures", "contrastive")
        time.sleep(moments.uniform(0.2, 3))
        running = stage.poll() is None
        stage.send_signal(signal.SIGINT)
        said = small.rest_of(stage)
        assert said in ("interrupted\n", ""), said
        endings += [stage.returncode] if running else []
    # By the signal itself while Python starts and ends, which a shell calls 130 too; 0 where nothing was left to do.
    assert set(endings) <= {130, -signal.SIGINT, 0} and endings.count(130) > INTERRUPTS / 3


@pytest.mark.hostile
@pytest.mark.parametrize("key", ["methods", "mnist.methods"])
def test_no_name_of_a_method_reaches_a_shell_by_make_repro(copied: Path, key: str) -> None:
    """The name leads to a file that there is and, as DVC reads it, to a key that there is, so DVC would run its stage."""
    evil = "x; touch caught #/../contrastive"
    block: dict[str, Any] = {"": {"/contrastive": {"train": {}}}}
    domain, *inner = key.split(".")
    names = {domain: {inner[0]: [evil]} if inner else [evil]}
    small.change_params(copied, {**names, "x; touch caught #/": block, "mnist_x; touch caught #/": block})
    assert f"_train@{evil}" in small.run(copied, "dvc", "stage", "list", "--name-only")
    said = small.reproduce(copied, status=1)
    refused = f"error: params.yaml: {key}: {evil!r} is not accepted: expected any of"
    assert said.startswith(refused) and said.count("\n") == 1
    # Nor does a stage take it.
    assert small.run(copied, sys.executable, "-m", f"stages.{DOMAINS[key]}.train", evil, status=1).startswith(refused)
    assert not (copied / "caught").exists()


DOMAINS = {"methods": "mog", "mnist.methods": "mnist"}


@pytest.mark.hostile
def test_more_than_any_memory_is_one_line(copied: Path) -> None:
    small.change_params(copied, {"mog": {"train_points": 2**31 - 1}})
    run = small.start(copied, "bash", "-c", f"ulimit -v 8000000; exec {sys.executable} -m stages.mog.data")
    said = small.rest_of(run)
    assert run.returncode == 1 and said.count("\n") == 1, said
    assert said.startswith("error: not enough memory for these params: ")


BAD_SOURCES: dict[str, bytes] = {
    "a page that asks who you are": b"<!DOCTYPE html><html><body>Please log in</body></html>",
    "another file": write_idx(np.zeros((5, 28, 28), np.uint8)),
    "half of the file": b"",
}


@pytest.mark.nightly
@pytest.mark.parametrize("how", BAD_SOURCES)
def test_a_source_that_gives_something_else_is_said_and_made_up_for(copied: Path, reproduced: Path, how: str) -> None:
    source = copied / "digits/train-images-idx3-ubyte"
    good = source.read_bytes()
    source.write_bytes(BAD_SOURCES[how] or good[: len(good) // 2])
    for path in ("data/mnist/train.npz", "data/mnist/test.npz"):
        small.kept(copied, path).unlink()
        (copied / path).unlink()
    said = small.run(copied, "dvc", "repro", "--no-run-cache", status=255)
    assert "error: no source gave the images: folder digits: " in said and "Traceback" not in said
    assert not any((copied / f"data/mnist/{part}.npz").exists() for part in ("train", "test"))
    source.write_bytes(good)
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
def test_a_cold_run_that_is_killed_again_and_again(
    reproduced: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", KILLS)
    folder, moments = tmp_path / "clone", random.Random(0)
    commands = [("dvc", "repro"), ("dvc", "repro"), small.PARALLEL, small.PARALLEL]
    kills = 0
    while kills < KILLS:
        if not folder.exists():
            small.clone(folder)
        # As `make repro` begins: alone, DVC refuses to run where the kill came while it wrote dvc.lock or its list.
        small.run(folder, "python", "-m", "stages.tools.verify")
        run = small.start(folder, *commands[kills % len(commands)])
        try:
            said, _ = run.communicate(timeout=moments.uniform(3, 25))
        except subprocess.TimeoutExpired:
            small.kill(folder, run)
            kills += 1
        else:
            assert run.returncode == 0, said
        if run.returncode == 0 or not kills % 2:
            # Every other time one more kill hits what the last one left.
            small.run(folder, "python", "-m", "stages.tools.verify")
            small.run(folder, "dvc", "repro")
            small.assert_undisturbed(folder, reproduced)
            shutil.rmtree(folder)


@pytest.mark.nightly
@pytest.mark.parametrize("stage", ["mog_train@dsm", "mnist_evaluate@jepa_ema", "mog_figures@contrastive", "track"])
def test_control_c_ends_the_pipeline_without_a_traceback(reproduced: Path, copied: Path, stage: str) -> None:
    (copied / "dvc.lock").unlink()
    shutil.rmtree(copied / ".dvc/cache")
    run = small.start(copied, "dvc", "repro")
    small.until(run, f"Running stage '{stage}'")
    time.sleep(1)
    os.killpg(run.pid, signal.SIGINT)
    rest = small.rest_of(run)
    assert run.returncode not in (0, -signal.SIGINT)
    assert "Traceback" not in rest
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
@pytest.mark.parametrize("kilobytes", [4, 40, 90, 400])
def test_a_disk_without_room_for_larger_files_is_said_and_made_up_for(reproduced: Path, tmp_path: Path, kilobytes: int) -> None:
    folder = small.clone(tmp_path / "clone")
    run = small.start(folder, "bash", "-c", f"ulimit -f {kilobytes}; exec dvc repro")
    said = small.rest_of(run)
    assert run.returncode not in (0, -signal.SIGXFSZ) and "Traceback" not in said, said
    # The second is what SQLite makes of it, in which DVC keeps what it knows of files.
    assert re.search(r"^(error|ERROR): .*(File too large|disk I/O error)", said, re.MULTILINE), said
    assert not list(folder.rglob(".unfinished.*"))
    small.run(folder, "dvc", "repro")
    small.assert_undisturbed(folder, reproduced)


UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""What takes from root the right to write where it is not allowed to."""


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("dvc", "repro"), r"ERROR: .*Permission denied: '\S*/\.dvc/tmp\S*'"),
        ((sys.executable, "-m", "stages.mog.data"), r"error: data/mog/mixture\.json can't be written: Permission denied"),
        (
            (sys.executable, "-m", "stages.track"),
            r"warning: not logged to MLflow \(.*Permission denied: '\S*'\); `make track` .*",
        ),
    ],
    ids=["dvc repro", "a stage", "the tracking"],
)
def test_a_checkout_that_may_only_be_read(copied: Path, command: tuple[str, ...], said: str) -> None:
    (copied / "data/mog/train.npz").unlink()
    places = [copied, *(path for path in copied.rglob("*") if not path.is_symlink())]
    modes = {path: path.stat().st_mode for path in places}
    for path in places:
        path.chmod(modes[path] & ~0o222)
    try:
        run = small.start(copied, *UNPRIVILEGED, *command)
        output = small.rest_of(run)
    finally:
        for path in places:
            path.chmod(modes[path])
    assert "Traceback" not in output and re.search(f"^{said}$", output, re.MULTILINE), output


@pytest.mark.nightly
@pytest.mark.parametrize("command", [("dvc", "repro"), small.PARALLEL], ids=["dvc repro", "make repro"])
def test_two_runs_at_once(reproduced: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = small.clone(tmp_path / "clone")
    runs = [small.start(folder, *command) for _ in range(2)]
    said = [run.communicate()[0] for run in runs]
    assert 0 in [run.returncode for run in runs], said
    for run, text in zip(runs, said, strict=True):
        assert run.returncode == 0 or re.search("lock|is busy", text), text
        assert "Traceback" not in text
    small.run(folder, "dvc", "repro")
    small.assert_undisturbed(folder, reproduced)


@pytest.fixture
def jumping(tmp_path: Path) -> str:
    """A folder for PYTHONPATH under which a process sees a clock that is set back by an hour every other second."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import time\n"
        "_real = time.time\n"
        "time.time = lambda: _real() - 3600 * (int(_real()) % 2)\n"
        "time.time_ns = lambda: int(time.time() * 1e9)\n"
    )
    return str(folder)


@pytest.mark.nightly
def test_a_clock_that_goes_backwards(reproduced: Path, tmp_path: Path, jumping: str) -> None:
    folder = small.clone(tmp_path / "clone")
    moments = "import time; a = time.time(); time.sleep(1); print(abs(time.time() - a) > 3000)"
    assert small.run(folder, "python", "-c", moments, PYTHONPATH=jumping) == "True\n"
    small.run(folder, "dvc", "repro", PYTHONPATH=jumping)
    # Files from the future, and from long ago.
    for number, path in enumerate(sorted(small.locked(folder))):
        if (folder / path).is_file():
            moment = time.time() + (86400 if number % 2 else -(10**8))
            os.utime(folder / path, (moment, moment))
    small.damage(folder / "models/mog/dsm.safetensors", "flipped")
    small.run(folder, "dvc", "repro", PYTHONPATH=jumping)
    small.assert_undisturbed(folder, reproduced)


@pytest.mark.nightly
def test_four_experiments_that_make_the_store_at_once(copied: Path) -> None:
    (copied / "mlflow.db").unlink()
    names = [f"sigma-{number}" for number in range(4)]
    command = ["dvc", "--wait-for-lock", "exp", "run", "--temp"]
    started = [small.start(copied, *command, "--name", name, "-S", f"dsm.sigma=0.{3 + i}") for i, name in enumerate(names)]
    said = [run.communicate()[0] for run in started]
    assert all(run.returncode == 0 for run in started) and not any("warning: not logged" in text for text in said), said
    (experiment,) = MlflowClient(f"sqlite:///{copied / 'mlflow.db'}").search_experiments(filter_string="name = 'energy-wells'")
    assert experiment.lifecycle_stage == "active"
    assert {run.info.run_name for run in runs(copied, "tags.part = 'pipeline'")} == set(names)
