"""`make clean`: what the pipeline made goes and comes back, what somebody else put there stays."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import small

CLEAN = ("python", "-m", "stages.tools.clean")


def test_what_the_pipeline_made_goes_and_nothing_else(copied: Path) -> None:
    theirs = [copied / name for name in ("data/mnist/idx/train-images-idx3-ubyte", "data/mog/notes.txt", "models/mine.pt")]
    for file in theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    tracked = set(small.run(copied, "git", "ls-files").split())
    said = small.run(copied, *CLEAN)
    assert said == "clean: data/mog is kept: it has files that were changed or added\n"
    assert all(file.read_text() == "mine" for file in theirs)
    left = {str(path.relative_to(copied)) for name in ("data", "models", "reports") for path in (copied / name).rglob("*.*")}
    assert left == {name for name in tracked if name.startswith(("data/", "models/", "reports/"))} | {
        str(file.relative_to(copied)) for file in theirs if "." in file.name
    }
    assert not small.run(copied, "git", "status", "--porcelain")
    # DVC itself removes no file of which it does not know.
    theirs[1].unlink()
    small.run(copied, "dvc", "checkout")
    assert (copied / "models/mog/dsm.safetensors").exists() and (copied / "data/mog/test.npz").exists()
    small.run(copied, *CLEAN)


def test_a_folder_of_which_nothing_is_known_stays(copied: Path) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    said = small.run(copied, *CLEAN)
    assert "clean: data/mog is kept: its files are not recorded\n" in said
    assert (copied / "data/mog/test.npz").exists() and not (copied / "models/mog/dsm.safetensors").exists()


@pytest.mark.hostile
def test_links_lead_nobody_outside(copied: Path, tmp_path: Path) -> None:
    """The data of somebody who keeps them on another disk: what was made goes, their own file and the link stay."""
    outside = tmp_path / "disk"
    shutil.move(copied / "data/mog", outside)
    (copied / "data/mog").symlink_to(outside)
    (outside / "mine.pt").write_text("mine")
    said = small.run(copied, *CLEAN)
    assert said == "clean: data/mog is kept: it has files that were changed or added\n"
    assert [path.name for path in outside.iterdir()] == ["mine.pt"] and (copied / "data/mog").is_symlink()


@pytest.mark.hostile
def test_what_was_changed_or_added_to_dvc_by_hand_stays(copied: Path) -> None:
    changed = [copied / "models/mog/dsm.safetensors", copied / "data/mog/train.npz", copied / "mine/thesis"]
    changed[2].parent.mkdir()
    changed[2].write_text("one")
    small.run(copied, "dvc", "add", "mine")
    for path in changed:
        path.unlink()
        path.write_text("mine")
    said = small.run(copied, *CLEAN)
    assert sorted(said.splitlines()) == [
        "clean: data/mog is kept: it has files that were changed or added",
        "clean: models/mog/dsm.safetensors is kept: it has files that were changed or added",
    ]
    assert all(path.read_text() == "mine" for path in changed)


def test_without_a_lock_everything_stays_and_is_named(copied: Path) -> None:
    (copied / "dvc.lock").unlink()
    said = small.run(copied, *CLEAN)
    assert "clean: data/mog is kept: its files are not recorded\n" in said
    assert (copied / "data/mog/train.npz").exists() and (copied / "models/mog/dsm.safetensors").exists()


def test_it_waits_for_no_stage_and_disturbs_none(copied: Path) -> None:
    """DVC notes who reads and writes what; a note of a process that is gone counts for nothing."""
    held = copied / ".dvc/tmp/rwlock"
    held.parent.mkdir(exist_ok=True)
    who = {"pid": os.getpid(), "cmd": "dvc repro"}
    held.write_text(json.dumps({"read": {}, "write": {str(copied / "models/mog/dsm.json"): who}}))
    assert small.run(copied, *CLEAN, status=1) == "error: the pipeline is running\n"
    assert (copied / "models/mog/dsm.json").exists()
    held.write_text(json.dumps({"read": {str(copied / "data/mog"): [{**who, "pid": 2**22 + 1}]}, "write": {}}))
    small.run(copied, *CLEAN)
    assert not (copied / "models/mog/dsm.json").exists()
