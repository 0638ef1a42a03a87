"""Damaged and incomplete files are detected and regenerated with the bytes of an undisturbed run.

`make nightly` runs all of these tests, `make test` those that take less than a minute.
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
"""Truncations of dvc.lock that are tried."""
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
def test_damaged_outputs_are_restored(copied: Path, reproduced: Path) -> None:
    for number, path in enumerate(OUTPUTS):
        small.damage(copied / path, DAMAGES[number % 3])
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_outputs_are_regenerated_without_the_cache(copied: Path, reproduced: Path, how: str) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    for path in OUTPUTS:
        small.damage(copied / path, how)
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.nightly
@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_cache_files_do_not_reach_the_outputs(copied: Path, reproduced: Path, how: str) -> None:
    # Outputs that git tracks are not in the cache.
    cached = [path for path in OUTPUTS if small.kept(copied, path).exists()]
    assert len(cached) > 3
    for path in cached:
        small.damage(small.kept(copied, path), how, silently=True)
    for path in OUTPUTS:
        (copied / path).unlink()
    printed = small.run(copied, "python", "-m", "stages.tools.verify")
    assert printed.count("was damaged and is removed from DVC's cache") == (0 if how == "deleted" else len(cached))
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


@pytest.mark.hostile
def test_silent_corruption_is_found_and_repaired(copied: Path, reproduced: Path) -> None:
    assert small.run(copied, "python", "-m", "stages.tools.verify") == ""
    cached, output = small.kept(copied, OUTPUTS[1]), copied / OUTPUTS[2]
    for path in (cached, output):
        small.damage(path, "flipped", silently=True)
    (copied / OUTPUTS[1]).unlink()
    printed = small.run(copied, "python", "-m", "stages.tools.verify")
    assert f"verify: {cached} was damaged and is removed from DVC's cache" in printed
    assert f"verify: {OUTPUTS[2]} differs from dvc.lock" in printed
    small.run(copied, "dvc", "repro")
    small.assert_undisturbed(copied, reproduced)


def test_verify_checks_only_the_projects_own_files_of_a_shared_cache(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shutil.move(copied / ".dvc/cache", shared)
    cache = shared / "files/md5"
    foreign = cache / "ab" / ("c" * 30)
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"a damaged file of another project")
    own = cache / small.kept(copied, OUTPUTS[1]).relative_to(copied / ".dvc/cache/files/md5")
    small.damage(own, "flipped", silently=True)
    small.run(copied, "dvc", "config", "--local", "cache.dir", str(shared))
    printed = small.run(copied, "python", "-m", "stages.tools.verify")
    assert printed == f"verify: {own} was damaged and is removed from DVC's cache\n"
    assert foreign.exists() and not own.exists()
    monkeypatch.chdir(copied)
    listed = set(verify.objects(cache))
    # The cache also has the file lists of the output folders, and the listed files.
    assert {path.name for path in listed if path.name.endswith(".dir")} and len(listed) > len(locked_stages())


def test_unreadable_cache_file_is_reported_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "ab" / (digit * 30) for digit in "cde"]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_bytes(b"")

    def file_md5(path: Path) -> str:
        if path == paths[1]:
            raise PermissionError(errno.EACCES, "Permission denied")
        return "another digest"

    monkeypatch.setattr(verify, "file_md5", file_md5)
    assert list(verify.damaged_objects(paths)) == [paths[0], paths[2]]
    assert capsys.readouterr().out == f"verify: {paths[1]} cannot be read (Permission denied) and is skipped\n"


@pytest.mark.hostile
def test_model_file_in_place_of_its_snapshots_is_rejected(copied: Path) -> None:
    snapshots = copied / "models/mog/dsm.snapshots.safetensors"
    snapshots.unlink()
    shutil.copy(copied / "models/mog/dsm.safetensors", snapshots)
    printed = small.run(copied, sys.executable, "-m", "stages.mog.evaluate", "dsm", status=1)
    assert printed == "error: models/mog/dsm.snapshots.safetensors has no snapshot_steps: `dvc repro` regenerates it\n"


TRUNCATED = {
    ".dvc/tmp/rwlock": ["", '{"write": {"/data'],
    "dvc.lock": ["", "schema: '2.0'\nstages:\n  mog_data:\n    cmd: python\n    de"],
}
"""Files that DVC writes, with contents that a kill of DVC may leave."""


@pytest.mark.hostile
def test_lock_file_truncated_anywhere_is_read_or_moved_aside(
    copied: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", CUTS)
    monkeypatch.chdir(copied)
    lock, readable = copied / "dvc.lock", 0
    values = params.read()
    complete = locked_stages()
    assert not differences(complete, values)
    whole, rng = lock.read_text(), random.Random(0)
    ends = [whole.index("\n    outs:\n    - path: ") + len("\n    outs:\n    - path: x"), *range(40)]
    with Repo() as repo:
        for end in [*ends, *(rng.randrange(len(whole)) for _ in range(CUTS - len(ends)))]:
            lock.write_text(whole[:end])
            readable += not remove_unreadable(repo)
            list(damaged_outputs())
            stages = locked_stages()
            assert stages == complete or differences(stages, values)
            machine.record(stages, {})
            inputs(stages)
    assert CUTS / 4 < readable < CUTS - 10


def test_truncated_lock_entry_is_neither_logged_nor_registered(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    loaded = params.load()
    name, _ = registry.best(loaded)
    lock = copied / "dvc.lock"
    whole = lock.read_text()
    entry = whole.index(f"mnist_train@{name}:")
    path = whole.index(f"- path: models/mnist/{name}.safetensors", entry)
    after = {part: whole.index("\n", whole.index(f"{part}: ", path)) + 1 for part in ("hash", "md5", "size")}
    for end in (entry - len("  "), *after.values()):
        lock.write_text(whole[:end])
        with pytest.raises(UserError, match=r"^the entry of m[\w@]+ in dvc\.lock is incomplete: run `dvc repro` first$"):
            registry.main(loaded)
        track.main(loaded)
        assert capsys.readouterr().out.startswith("track: nothing is logged, since the entry of m")
    # DVC itself rejects this content.
    lock.write_text(whole[:entry] + "mnist_train:\n")
    printed = small.run(copied, sys.executable, "-m", "stages.tools.registry", status=1)
    assert printed.startswith("error: dvc.lock: ") and printed.endswith(": `make verify` moves it aside\n")
    assert printed.count("\n") == 1


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "content"), [(name, content) for name, contents in TRUNCATED.items() for content in contents])
def test_file_truncated_by_a_kill_of_dvc_is_moved_aside(copied: Path, reproduced: Path, name: str, content: str) -> None:
    path = copied / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    small.run(copied, "dvc", "repro", status=255)
    printed = small.run(copied, "python", "-m", "stages.tools.verify")
    assert f"{name} cannot be read by DVC, probably because DVC was killed, and " in printed and printed.count("\n") == 1
    assert not path.exists() and (name != "dvc.lock" or (copied / ".dvc/tmp/dvc.lock").read_text() == content)
    # DVC's run cache has the trainings.
    assert not [stage for stage in small.stages_run(small.run(copied, "dvc", "repro")) if "_train@" in stage]
    small.assert_undisturbed(copied, reproduced)


def test_verify_keeps_files_that_a_running_dvc_writes(copied: Path) -> None:
    listed, lock = copied / ".dvc/tmp/rwlock", copied / "dvc.lock"
    listed.parent.mkdir(exist_ok=True)
    with make_lock(str(listed.with_name("rwlock.lock"))), make_lock(str(listed.with_name("lock"))):
        listed.write_text("")
        for content in ("{}", ""):
            lock.write_text(content)
            small.run(copied, "python", "-m", "stages.tools.verify")
    assert listed.exists() and lock.exists()


def test_lock_file_with_conflict_markers_is_kept(copied: Path) -> None:
    lock = copied / "dvc.lock"
    conflict = "<<<<<<< HEAD\n" + lock.read_text()
    lock.write_text(conflict)
    printed = small.run(copied, "python", "-m", "stages.tools.verify", status=1)
    assert printed.startswith("error: dvc.lock: ") and printed.count("\n") == 1
    assert lock.read_text() == conflict


def test_incomplete_files_of_killed_stages_are_removed_after_a_day(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources: list[Path] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda source, target: sources.append(source))
        files.write_text(copied / "models/mog/weights", "")
    (old,) = sources
    recent = old.with_name(f"{old.name}.recent")
    for path in (old, recent):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    small.run(copied, "python", "-m", "stages.tools.verify")
    assert not old.exists() and recent.exists()
