"""What is damaged on the disk, or half-written: it is found, and made again with the bytes of an undisturbed run.

`make nightly` runs all of it; what takes less than a minute is in `make test` too.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.lock import make_lock
from dvc.repo import Repo

from stages import track
from stages.config import params
from stages.core.errors import UserError
from stages.dag import machine
from stages.dag.lock import differences, inputs, locked_stages
from stages.pipeline import files
from stages.tools import registry, verify
from stages.tools.verify import damaged_outputs, remove_unreadable
from tests import small

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


@pytest.mark.hostile
def test_damaged_outputs_are_made_again(copied: Path, reproduced: Path) -> None:
    for number, path in enumerate(OUTPUTS):
        small.damage(copied / path, DAMAGES[number % 3])
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_outputs_are_made_again_without_the_cache(copied: Path, reproduced: Path, how: str) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    for path in OUTPUTS:
        small.damage(copied / path, how)
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_cache_gives_no_damaged_output(copied: Path, reproduced: Path, how: str) -> None:
    # What is in git is not in the cache.
    cached = [path for path in OUTPUTS if small.kept(copied, path).exists()]
    assert len(cached) > 3
    for path in cached:
        small.damage(small.kept(copied, path), how, in_secret=True)
    for path in OUTPUTS:
        (copied / path).unlink()
    said = small.run(copied, "python", "-m", "stages.tools.verify")
    assert said.count("was damaged and is removed from DVC's cache") == (0 if how == "deleted" else len(cached))
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.hostile
def test_what_a_disk_lost_in_secret_is_found_and_made_again(copied: Path, reproduced: Path) -> None:
    assert small.run(copied, "python", "-m", "stages.tools.verify") == ""
    cached, output = small.kept(copied, OUTPUTS[1]), copied / OUTPUTS[2]
    for path in (cached, output):
        small.damage(path, "flipped", in_secret=True)
    (copied / OUTPUTS[1]).unlink()
    said = small.run(copied, "python", "-m", "stages.tools.verify")
    assert f"verify: {cached} was damaged and is removed from DVC's cache" in said
    assert f"verify: {OUTPUTS[2]} differs from dvc.lock" in said
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


def test_of_a_shared_cache_what_this_project_takes_is_read(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shutil.move(copied / ".dvc/cache", shared)
    cache = shared / "files/md5"
    others = cache / "ab" / ("c" * 30)
    others.parent.mkdir(exist_ok=True)
    others.write_bytes(b"of another project, and damaged")
    own = cache / small.kept(copied, OUTPUTS[1]).relative_to(copied / ".dvc/cache/files/md5")
    small.damage(own, "flipped", in_secret=True)
    small.run(copied, "dvc", "config", "--local", "cache.dir", str(shared))
    said = small.run(copied, "python", "-m", "stages.tools.verify")
    assert said == f"verify: {own} was damaged and is removed from DVC's cache\n" and others.exists() and not own.exists()
    monkeypatch.chdir(copied)
    listed = set(verify.objects(cache))
    # What the folders hold is listed in the cache.
    assert {path.name for path in listed if path.name.endswith(".dir")} and len(listed) > len(locked_stages(params.read()))


def test_what_cannot_be_read_or_removed_is_told_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "ab" / (digit * 30) for digit in "cde"]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(b"")

    def read(path: Path) -> str:
        if path == paths[1]:
            raise PermissionError(errno.EACCES, "Permission denied")
        return "another digest"

    monkeypatch.setattr(verify, "file_md5", read)
    assert list(verify.damaged_objects(paths)) == [paths[0], paths[2]]
    assert capsys.readouterr().out == f"verify: {paths[1]} cannot be read (Permission denied) and is skipped\n"


@pytest.mark.hostile
def test_a_model_in_the_place_of_its_snapshots_is_refused(copied: Path) -> None:
    snapshots = copied / "models/mog/dsm.snapshots.safetensors"
    snapshots.unlink()
    shutil.copy(copied / "models/mog/dsm.safetensors", snapshots)
    said = small.run(copied, sys.executable, "-m", "stages.mog.evaluate", "dsm", status=1)
    assert said == "error: models/mog/dsm.snapshots.safetensors has no snapshot_steps: `dvc repro` makes it anew\n"


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
    values = params.read()
    complete = locked_stages(values)
    assert not differences(complete, values)
    whole, places = lock.read_text(), random.Random(0)
    ends = [whole.index("\n    outs:\n    - path: ") + len("\n    outs:\n    - path: x"), *range(40)]
    with Repo() as repo:
        for end in [*ends, *(places.randrange(len(whole)) for _ in range(CUTS - len(ends)))]:
            lock.write_text(whole[:end])
            read += not remove_unreadable(repo)
            list(damaged_outputs())
            stages = locked_stages(values)
            assert stages == complete or differences(stages, values)
            machine.record(stages, {})
            inputs(stages)
    assert CUTS / 4 < read < CUTS - 10


def test_nothing_is_logged_or_registered_whose_entry_was_cut_off(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    wanted = params.load()
    name, _ = registry.best(wanted)
    lock = copied / "dvc.lock"
    whole = lock.read_text()
    entry = whole.index(f"mnist_train@{name}:")
    path = whole.index(f"- path: models/mnist/{name}.safetensors", entry)
    after = {part: whole.index("\n", whole.index(f"{part}: ", path)) + 1 for part in ("hash", "md5", "size")}
    for end in (entry - len("  "), *after.values()):
        lock.write_text(whole[:end])
        with pytest.raises(UserError, match=r"^the entry of m[\w@]+ is not whole in dvc\.lock: run `dvc repro` first$"):
            registry.main(wanted)
        track.main(wanted)
        assert capsys.readouterr().out.startswith("track: nothing is logged, since the entry of m")
    # DVC would not read this one.
    lock.write_text(whole[:entry] + "mnist_train:\n")
    said = small.run(copied, sys.executable, "-m", "stages.tools.registry", status=1)
    assert said.startswith("error: dvc.lock: ") and said.endswith(": `make verify` moves it aside\n") and said.count("\n") == 1


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "left"), [(name, left) for name, contents in HALF_WRITTEN.items() for left in contents])
def test_what_dvc_had_half_written_when_it_was_killed_is_removed(copied: Path, reproduced: Path, name: str, left: str) -> None:
    path = copied / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(left)
    small.run(copied, "dvc", "repro", status=255)
    said = small.run(copied, "python", "-m", "stages.tools.verify")
    assert f"{name} cannot be read by DVC, probably because DVC was killed, and " in said and said.count("\n") == 1
    assert not path.exists() and (name != "dvc.lock" or (copied / ".dvc/tmp/dvc.lock").read_text() == left)
    # Trainings are in DVC's run cache.
    assert not [stage for stage in small.stages_run(small.run(copied, "dvc", "repro")) if "_train@" in stage]
    small.assert_undisturbed(copied, reproduced)


def test_what_a_dvc_that_runs_is_writing_stays(copied: Path) -> None:
    listed, lock = copied / ".dvc/tmp/rwlock", copied / "dvc.lock"
    listed.parent.mkdir(exist_ok=True)
    with make_lock(str(listed.with_name("rwlock.lock"))), make_lock(str(listed.with_name("lock"))):
        listed.write_text("")
        for content in ("{}", ""):
            lock.write_text(content)
            small.run(copied, "python", "-m", "stages.tools.verify")
    assert listed.exists() and lock.exists()


def test_a_conflict_in_the_lock_file_is_left_to_its_user(copied: Path) -> None:
    lock = copied / "dvc.lock"
    conflict = "<<<<<<< HEAD\n" + lock.read_text()
    lock.write_text(conflict)
    said = small.run(copied, "python", "-m", "stages.tools.verify", status=1)
    assert said.startswith("error: dvc.lock: ") and said.count("\n") == 1
    assert lock.read_text() == conflict


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
    small.run(copied, "python", "-m", "stages.tools.verify")
    assert not left.exists() and fresh.exists()
