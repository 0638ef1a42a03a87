"""What goes wrong while a pipeline runs: afterwards `dvc repro` ends in the bytes of an undisturbed run.

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

import numpy as np
import pytest
from dvc.lock import make_lock
from dvc.repo import Repo
from mlflow import MlflowClient

from stages import files
from stages.imports import ROOT
from stages.intact import damaged_outputs, remove_unreadable
from stages.lock import file_md5
from stages.mnist.sources import write_idx
from stages.reproduce import outputs
from tests import small
from tests.test_pipeline import runs

KILLS = 10
INTERRUPTS = 40
CUTS = 200
OUTPUTS = (
    "data/mog/train.npz",
    "models/mog/dsm.safetensors",
    "reports/fields/contrastive.npz",
    "reports/metrics/mog/dsm.json",
    "reports/curves/mnist/jepa_ema.csv",
    "reports/figures/gallery.png",
    "reports/index.html",
)
DAMAGES = ("deleted", "truncated", "flipped")


def locked(folder: Path) -> dict[str, str]:
    """The digests of all outputs in a clone's dvc.lock."""
    return {path: md5 for outs in outputs((folder / "dvc.lock").read_text()).values() for path, md5 in outs.items()}


def assert_undisturbed(folder: Path, reproduced: Path) -> None:
    """The lock has the digests of an undisturbed run, and every output is what the lock says."""
    assert locked(folder) == locked(reproduced)
    for path, digest in locked(folder).items():
        assert file_md5(folder / path) == digest, path
    assert "up to date" in small.run(folder, "dvc", "status")


def damage(path: Path, how: str, *, in_secret: bool = False) -> None:
    """Damage a file in place, as a person would, or a disk: `in_secret`, which keeps its mode and its times."""
    content, before = bytearray(path.read_bytes()), path.stat()
    path.chmod(0o644)
    if how == "deleted":
        path.unlink()
        return
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    if in_secret:
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def kept(folder: Path, path: str) -> Path:
    """Where DVC's cache has an output."""
    digest = locked(folder)[path]
    return folder / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}"


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
from stages.errors import watch_interrupts

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
def test_damaged_outputs_are_made_again(copied: Path, reproduced: Path) -> None:
    for number, path in enumerate(OUTPUTS):
        damage(copied / path, DAMAGES[number % 3])
    small.run(copied, "dvc", "repro")
    assert_undisturbed(copied, reproduced)


@pytest.mark.hostile
@pytest.mark.parametrize("key", ["methods", "mnist.methods"])
def test_no_name_of_a_method_reaches_a_shell(copied: Path, key: str) -> None:
    """The name leads to a file that there is and, as DVC reads it, to a key that there is, so DVC runs its stage."""
    evil = "x; touch caught #/../contrastive"
    block = {"": {"/contrastive": {"train": {}}}}
    world, *inner = key.split(".")
    names = {world: {inner[0]: [evil]} if inner else [evil]}
    small.change_params(copied, {**names, "x; touch caught #/": block, "mnist_x; touch caught #/": block})
    said = small.run(copied, "dvc", "repro", status=255)
    assert f"_train@{evil}'" in said and f"error: params.yaml: {key}: {evil!r} is not accepted: expected any of" in said
    assert not (copied / "caught").exists()


@pytest.mark.hostile
def test_what_a_disk_lost_in_secret_is_found_and_made_again(copied: Path, reproduced: Path) -> None:
    assert small.run(copied, "python", "-m", "stages.intact") == ""
    cached, output = kept(copied, OUTPUTS[1]), copied / OUTPUTS[2]
    for path in (cached, output):
        damage(path, "flipped", in_secret=True)
    (copied / OUTPUTS[1]).unlink()
    said = small.run(copied, "python", "-m", "stages.intact")
    assert f"verify: {cached} was damaged and is removed from DVC's cache" in said
    assert f"verify: {OUTPUTS[2]} is not as in dvc.lock" in said
    small.run(copied, "dvc", "repro")
    assert_undisturbed(copied, reproduced)


def test_what_a_killed_stage_left_unfinished_is_removed_after_a_day(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda source, target: named.append(source))
        files.write_text(copied / "models/mog/weights", "")
    (left,) = named
    fresh = left.with_name(f"{left.name}.fresh")
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    small.run(copied, "python", "-m", "stages.intact")
    assert not left.exists() and fresh.exists()


HALF_WRITTEN = {
    ".dvc/tmp/rwlock": ["", '{"write": {"/data'],
    "dvc.lock": ["", "schema: '2.0'\nstages:\n  mog_data:\n    cmd: python\n    de"],
}


@pytest.mark.hostile
def test_a_lock_file_that_was_cut_off_anywhere_is_read_or_put_aside(
    copied: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", CUTS)
    monkeypatch.chdir(copied)
    lock, read = copied / "dvc.lock", 0
    whole, places = lock.read_text(), random.Random(0)
    ends = [whole.index("\n    outs:\n    - path: ") + len("\n    outs:\n    - path: x"), *range(40)]
    with Repo() as repo:
        for end in [*ends, *(places.randrange(len(whole)) for _ in range(CUTS - len(ends)))]:
            lock.write_text(whole[:end])
            read += not remove_unreadable(repo)
            list(damaged_outputs())
    assert CUTS / 4 < read < CUTS - 10


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "left"), [(name, left) for name, contents in HALF_WRITTEN.items() for left in contents])
def test_what_dvc_had_half_written_when_it_was_killed_is_removed(copied: Path, reproduced: Path, name: str, left: str) -> None:
    path = copied / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(left)
    small.run(copied, "dvc", "repro", status=255)
    said = small.run(copied, "python", "-m", "stages.intact")
    assert f"{name} can't be read by DVC, as a killed one leaves it, and " in said and said.count("\n") == 1
    assert not path.exists() and (name != "dvc.lock" or (copied / ".dvc/tmp/dvc.lock").read_text() == left)
    # Trainings are in DVC's run cache.
    assert not [stage for stage in small.stages_run(small.run(copied, "dvc", "repro")) if "_train@" in stage]
    assert_undisturbed(copied, reproduced)


def test_what_a_dvc_that_runs_is_writing_stays(copied: Path) -> None:
    listed, lock = copied / ".dvc/tmp/rwlock", copied / "dvc.lock"
    listed.parent.mkdir(exist_ok=True)
    with make_lock(str(listed.with_name("rwlock.lock"))), make_lock(str(listed.with_name("lock"))):
        listed.write_text("")
        lock.write_text("{}")
        small.run(copied, "python", "-m", "stages.intact")
    assert listed.exists() and lock.exists()


def test_a_conflict_in_the_lock_file_is_left_to_its_user(copied: Path) -> None:
    lock = copied / "dvc.lock"
    conflict = "<<<<<<< HEAD\n" + lock.read_text()
    lock.write_text(conflict)
    said = small.run(copied, "python", "-m", "stages.intact", status=1)
    assert said.startswith("error: dvc.lock: ") and said.count("\n") == 1
    assert lock.read_text() == conflict


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
        kept(copied, path).unlink()
        (copied / path).unlink()
    said = small.run(copied, "dvc", "repro", "--no-run-cache", status=255)
    assert "error: no source gave the images: folder digits: " in said and "Traceback" not in said
    assert not any((copied / f"data/mnist/{part}.npz").exists() for part in ("train", "test"))
    source.write_bytes(good)
    small.run(copied, "dvc", "repro")
    assert_undisturbed(copied, reproduced)


@pytest.mark.hostile
def test_a_model_in_the_place_of_its_snapshots_is_refused(copied: Path) -> None:
    snapshots = copied / "models/mog/dsm.snapshots.safetensors"
    snapshots.unlink()
    shutil.copy(copied / "models/mog/dsm.safetensors", snapshots)
    said = small.run(copied, sys.executable, "-m", "stages.mog.evaluate", "dsm", status=1)
    assert said == "error: models/mog/dsm.snapshots.safetensors has no snapshot_steps: `dvc repro` makes it anew\n"


@pytest.mark.nightly
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_outputs_are_made_again_without_the_cache(copied: Path, reproduced: Path, how: str) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    for path in OUTPUTS:
        damage(copied / path, how)
    small.run(copied, "dvc", "repro")
    assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_cache_gives_no_damaged_output(copied: Path, reproduced: Path, how: str) -> None:
    # What is in git is not in the cache.
    cached = [path for path in OUTPUTS if kept(copied, path).exists()]
    assert len(cached) > 3
    for path in cached:
        damage(kept(copied, path), how, in_secret=True)
    for path in OUTPUTS:
        (copied / path).unlink()
    said = small.run(copied, "python", "-m", "stages.intact")
    assert said.count("was damaged and is removed from DVC's cache") == (0 if how == "deleted" else len(cached))
    small.run(copied, "dvc", "repro")
    assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
def test_a_cold_run_that_is_killed_again_and_again(
    reproduced: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", KILLS)
    folder, moments = tmp_path / "clone", random.Random(0)
    kills = 0
    while kills < KILLS:
        if not folder.exists():
            small.clone(folder)
        # As `make repro` begins: alone, DVC refuses to run where the kill came while it wrote dvc.lock or its list.
        small.run(folder, "python", "-m", "stages.intact")
        run = small.start(folder, "dvc", "repro")
        try:
            said, _ = run.communicate(timeout=moments.uniform(3, 25))
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
            kills += 1
        else:
            assert run.returncode == 0, said
        if run.returncode == 0 or not kills % 2:
            # Every other time one more kill hits what the last one left.
            small.run(folder, "python", "-m", "stages.intact")
            small.run(folder, "dvc", "repro")
            assert_undisturbed(folder, reproduced)
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
    assert_undisturbed(copied, reproduced)


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
    assert_undisturbed(folder, reproduced)


UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""What takes from root the right to write where it is not allowed to."""


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("dvc", "repro"), r"ERROR: .*Permission denied: '\S*/\.dvc/tmp\S*'"),
        ((sys.executable, "-m", "stages.mog.data"), r"error: data/mog/train\.npz can't be written: Permission denied"),
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
def test_two_runs_at_once(reproduced: Path, tmp_path: Path) -> None:
    folder = small.clone(tmp_path / "clone")
    runs = [small.start(folder, "dvc", "repro") for _ in range(2)]
    said = [run.communicate()[0] for run in runs]
    assert 0 in [run.returncode for run in runs], said
    for run, text in zip(runs, said, strict=True):
        assert run.returncode == 0 or re.search("lock|is busy", text), text
        assert "Traceback" not in text
    small.run(folder, "dvc", "repro")
    assert_undisturbed(folder, reproduced)


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
    for number, path in enumerate(sorted(locked(folder))):
        if (folder / path).is_file():
            moment = time.time() + (86400 if number % 2 else -(10**8))
            os.utime(folder / path, (moment, moment))
    damage(folder / OUTPUTS[1], "flipped")
    small.run(folder, "dvc", "repro", PYTHONPATH=jumping)
    assert_undisturbed(folder, reproduced)


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
