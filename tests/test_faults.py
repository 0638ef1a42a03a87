"""Faults during a run are reported, and the next `dvc repro` gives the bytes of an undisturbed run.

`make nightly` runs all of these tests, `make test` those that take less than a minute.
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
from stages.mnist.datasets.idx import write_idx
from tests import small
from tests.test_pipeline import runs

KILLS = 10
"""Kills of a cold run."""
INTERRUPTS = 40
"""Interrupts of a stage."""


@pytest.mark.hostile
def test_interrupted_stage_prints_one_line_and_leaves_no_output(copied: Path) -> None:
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
        raise ValueError("not closed")

watch_interrupts()
"""
"""Code in which Python discards a KeyboardInterrupt, or in which another exception replaces it."""


@pytest.mark.hostile
@pytest.mark.parametrize(
    "code", ["Finaliser()", "with Closing(): os.kill(os.getpid(), signal.SIGINT)"], ids=["finaliser", "raising context manager"]
)
def test_interrupt_ends_the_process_even_if_its_exception_is_lost(code: str) -> None:
    printed = small.run(ROOT, sys.executable, "-c", f"{INTERRUPTED}{code}\nprint('went on')", status=130)
    assert printed == "interrupted\n"


@pytest.mark.nightly
def test_interrupt_at_any_time_of_a_stage_prints_at_most_one_line(
    copied: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", INTERRUPTS)
    rng, statuses = random.Random(0), list[int]()
    while len(statuses) < INTERRUPTS:
        stage = small.start(copied, sys.executable, "-m", "stages.mog.figures", "contrastive")
        time.sleep(rng.uniform(0.2, 3))
        running = stage.poll() is None
        stage.send_signal(signal.SIGINT)
        printed = small.rest_of(stage)
        assert printed in ("interrupted\n", ""), printed
        statuses += [stage.returncode] if running else []
    # While Python starts or exits, the signal itself ends it, which a shell reports as 130 too; 0 if the stage was complete.
    assert set(statuses) <= {130, -signal.SIGINT, 0} and statuses.count(130) > INTERRUPTS / 3


@pytest.mark.hostile
@pytest.mark.parametrize("key", ["methods", "mnist.methods"])
def test_make_repro_passes_no_unchecked_method_name_to_a_shell(copied: Path, key: str) -> None:
    """The name resolves to an existing file and, in DVC's syntax, to an existing key, so DVC would run its stage."""
    injection = "x; touch caught #/../contrastive"
    block: dict[str, Any] = {"": {"/contrastive": {"train": {}}}}
    first, *rest = key.split(".")
    names = {first: {rest[0]: [injection]} if rest else [injection]}
    small.change_params(copied, {**names, "x; touch caught #/": block, "mnist_x; touch caught #/": block})
    assert f"_train@{injection}" in small.run(copied, "dvc", "stage", "list", "--name-only")
    printed = small.reproduce(copied, status=1)
    message = f"error: params.yaml: {key}: {injection!r} is not accepted: expected any of"
    assert printed.startswith(message) and printed.count("\n") == 1
    # A stage rejects the name as well.
    assert small.run(copied, sys.executable, "-m", f"stages.{DOMAINS[key]}.train", injection, status=1).startswith(message)
    assert not (copied / "caught").exists()


DOMAINS = {"methods": "mog", "mnist.methods": "mnist"}
"""The domain of each list of methods in params.yaml."""


@pytest.mark.hostile
def test_lack_of_memory_is_reported_in_one_line(copied: Path) -> None:
    small.change_params(copied, {"mog": {"train_points": 2**31 - 1}})
    run = small.start(copied, "bash", "-c", f"ulimit -v 8000000; exec {sys.executable} -m stages.mog.data")
    printed = small.rest_of(run)
    assert run.returncode == 1 and printed.count("\n") == 1, printed
    assert printed.startswith("error: not enough memory for these params: ")


BAD_SOURCES: dict[str, bytes] = {
    "login page": b"<!DOCTYPE html><html><body>Please log in</body></html>",
    "other images": write_idx(np.zeros((5, 28, 28), np.uint8)),
    "truncated file": b"",
}
"""Contents of a source's file; empty stands for the first half of the right one."""


@pytest.mark.nightly
@pytest.mark.parametrize("fault", BAD_SOURCES)
def test_source_with_wrong_content_is_reported_and_used_once_repaired(copied: Path, reproduced: Path, fault: str) -> None:
    source = copied / "digits/train-images-idx3-ubyte"
    good = source.read_bytes()
    source.write_bytes(BAD_SOURCES[fault] or good[: len(good) // 2])
    for path in ("data/mnist/train.npz", "data/mnist/test.npz"):
        small.kept(copied, path).unlink()
        (copied / path).unlink()
    printed = small.run(copied, "dvc", "repro", "--no-run-cache", status=255)
    assert "error: no source gave the images: folder digits: " in printed and "Traceback" not in printed
    assert not any((copied / f"data/mnist/{part}.npz").exists() for part in ("train", "test"))
    source.write_bytes(good)
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
def test_cold_run_survives_repeated_kills(
    reproduced: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", KILLS)
    folder, rng = tmp_path / "clone", random.Random(0)
    commands = [("dvc", "repro"), ("dvc", "repro"), small.PARALLEL, small.PARALLEL]
    kills = 0
    while kills < KILLS:
        if not folder.exists():
            small.clone(folder)
        # `make repro` runs this first: DVC refuses to run if it was killed while writing dvc.lock or its list of files in use.
        small.run(folder, "python", "-m", "stages.tools.verify")
        run = small.start(folder, *commands[kills % len(commands)])
        try:
            printed, _ = run.communicate(timeout=rng.uniform(3, 25))
        except subprocess.TimeoutExpired:
            small.kill(folder, run)
            kills += 1
        else:
            assert run.returncode == 0, printed
        if run.returncode == 0 or not kills % 2:
            # This follows every second kill, so that half of the kills hit the state that the previous one left.
            small.run(folder, "python", "-m", "stages.tools.verify")
            small.run(folder, "dvc", "repro")
            small.assert_undisturbed(folder, reproduced)
            shutil.rmtree(folder)


@pytest.mark.nightly
@pytest.mark.parametrize("stage", ["mog_train@dsm", "mnist_evaluate@jepa_ema", "mog_figures@contrastive", "track"])
def test_ctrl_c_ends_the_pipeline_without_a_traceback(reproduced: Path, copied: Path, stage: str) -> None:
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
def test_limit_on_file_sizes_is_reported_and_leaves_no_incomplete_file(
    reproduced: Path, tmp_path: Path, kilobytes: int
) -> None:
    folder = small.clone(tmp_path / "clone")
    run = small.start(folder, "bash", "-c", f"ulimit -f {kilobytes}; exec dvc repro")
    printed = small.rest_of(run)
    assert run.returncode not in (0, -signal.SIGXFSZ) and "Traceback" not in printed, printed
    # The second message is that of SQLite, in which DVC keeps the digests of files.
    assert re.search(r"^(error|ERROR): .*(File too large|disk I/O error)", printed, re.MULTILINE), printed
    assert not list(folder.rglob(".unfinished.*"))
    small.run(folder, "dvc", "repro")
    small.assert_undisturbed(folder, reproduced)


UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Prefix of a command that takes from root the right to ignore the modes of files."""


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("dvc", "repro"), r"ERROR: .*Permission denied: '\S*/\.dvc/tmp\S*'"),
        ((sys.executable, "-m", "stages.mog.data"), r"error: data/mog/mixture\.json can't be written: Permission denied"),
        (
            (sys.executable, "-m", "stages.track"),
            r"warning: not logged to MLflow \(.*Permission denied: '\S*'\); `make track` .*",
        ),
    ],
    ids=["dvc repro", "stage", "tracking"],
)
def test_read_only_checkout_is_reported_in_one_line(copied: Path, command: tuple[str, ...], message: str) -> None:
    (copied / "data/mog/train.npz").unlink()
    paths = [copied, *(path for path in copied.rglob("*") if not path.is_symlink())]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        run = small.start(copied, *UNPRIVILEGED, *command)
        printed = small.rest_of(run)
    finally:
        for path in paths:
            path.chmod(modes[path])
    assert "Traceback" not in printed and re.search(f"^{message}$", printed, re.MULTILINE), printed


@pytest.mark.nightly
@pytest.mark.parametrize("command", [("dvc", "repro"), small.PARALLEL], ids=["dvc repro", "make repro"])
def test_concurrent_runs_do_not_damage_the_results(reproduced: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = small.clone(tmp_path / "clone")
    runs = [small.start(folder, *command) for _ in range(2)]
    printed = [run.communicate()[0] for run in runs]
    assert 0 in [run.returncode for run in runs], printed
    for run, text in zip(runs, printed, strict=True):
        assert run.returncode == 0 or re.search("lock|is busy", text), text
        assert "Traceback" not in text
    small.run(folder, "dvc", "repro")
    small.assert_undisturbed(folder, reproduced)


@pytest.fixture
def jumping_clock(tmp_path: Path) -> str:
    """A folder for PYTHONPATH with which the clock of a process is an hour slow in every other second."""
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
def test_clock_that_jumps_does_not_change_the_results(reproduced: Path, tmp_path: Path, jumping_clock: str) -> None:
    folder = small.clone(tmp_path / "clone")
    code = "import time; a = time.time(); time.sleep(1); print(abs(time.time() - a) > 3000)"
    assert small.run(folder, "python", "-c", code, PYTHONPATH=jumping_clock) == "True\n"
    small.run(folder, "dvc", "repro", PYTHONPATH=jumping_clock)
    # Modification times in the future and in the distant past.
    for number, path in enumerate(sorted(small.locked(folder))):
        if (folder / path).is_file():
            modified = time.time() + (86400 if number % 2 else -(10**8))
            os.utime(folder / path, (modified, modified))
    small.damage(folder / "models/mog/dsm.safetensors", "flipped")
    small.run(folder, "dvc", "repro", PYTHONPATH=jumping_clock)
    small.assert_undisturbed(folder, reproduced)


@pytest.mark.nightly
def test_concurrent_experiments_create_the_store_once_and_are_all_logged(copied: Path) -> None:
    (copied / "mlflow.db").unlink()
    names = [f"sigma-{number}" for number in range(4)]
    command = ["dvc", "--wait-for-lock", "exp", "run", "--temp"]
    started = [small.start(copied, *command, "--name", name, "-S", f"dsm.sigma=0.{3 + i}") for i, name in enumerate(names)]
    printed = [run.communicate()[0] for run in started]
    assert all(run.returncode == 0 for run in started) and not any("warning: not logged" in text for text in printed), printed
    (experiment,) = MlflowClient(f"sqlite:///{copied / 'mlflow.db'}").search_experiments(filter_string="name = 'energy-wells'")
    assert experiment.lifecycle_stage == "active"
    assert {run.info.run_name for run in runs(copied, "tags.part = 'pipeline'")} == set(names)
