"""`make clean` removes the pipeline's outputs, which DVC can restore, and keeps all files of the user."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests import small

CLEAN = ("python", "-m", "stages.tools.clean")


def test_clean_removes_the_outputs_and_nothing_else(copied: Path) -> None:
    own = [copied / name for name in ("data/mnist/idx/train-images-idx3-ubyte", "data/mog/notes.txt", "models/mine.pt")]
    for file in own:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    tracked = set(small.run(copied, "git", "ls-files").split())
    printed = small.run(copied, *CLEAN)
    assert printed == "clean: data/mog is kept: it has files that were changed or added\n"
    assert all(file.read_text() == "mine" for file in own)
    left = {str(path.relative_to(copied)) for name in ("data", "models", "reports") for path in (copied / name).rglob("*.*")}
    assert left == {name for name in tracked if name.startswith(("data/", "models/", "reports/"))} | {
        str(file.relative_to(copied)) for file in own if "." in file.name
    }
    assert not small.run(copied, "git", "status", "--porcelain")
    # DVC refuses to replace a folder that has an unknown file.
    own[1].unlink()
    small.run(copied, "dvc", "checkout")
    assert (copied / "models/mog/dsm.safetensors").exists() and (copied / "data/mog/test.npz").exists()
    small.run(copied, *CLEAN)


def test_folder_without_a_recorded_file_list_is_kept(copied: Path) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    printed = small.run(copied, *CLEAN)
    assert "clean: data/mog is kept: its files are not recorded\n" in printed
    assert (copied / "data/mog/test.npz").exists() and not (copied / "models/mog/dsm.safetensors").exists()


@pytest.mark.hostile
def test_clean_keeps_a_linked_folder_and_the_users_files_in_it(copied: Path, tmp_path: Path) -> None:
    """A user may keep the data on another disk: outputs there are removed, the user's file and the link are kept."""
    outside = tmp_path / "disk"
    shutil.move(copied / "data/mog", outside)
    (copied / "data/mog").symlink_to(outside)
    (outside / "mine.pt").write_text("mine")
    printed = small.run(copied, *CLEAN)
    assert printed == "clean: data/mog is kept: it has files that were changed or added\n"
    assert [path.name for path in outside.iterdir()] == ["mine.pt"] and (copied / "data/mog").is_symlink()


@pytest.mark.hostile
def test_modified_outputs_and_files_of_dvc_add_are_kept(copied: Path) -> None:
    changed = [copied / "models/mog/dsm.safetensors", copied / "data/mog/train.npz", copied / "mine/thesis"]
    changed[2].parent.mkdir()
    changed[2].write_text("one")
    small.run(copied, "dvc", "add", "mine")
    for path in changed:
        path.unlink()
        path.write_text("mine")
    printed = small.run(copied, *CLEAN)
    assert sorted(printed.splitlines()) == [
        "clean: data/mog is kept: it has files that were changed or added",
        "clean: models/mog/dsm.safetensors is kept: it has files that were changed or added",
    ]
    assert all(path.read_text() == "mine" for path in changed)


def test_all_outputs_are_kept_and_reported_without_a_lock_file(copied: Path) -> None:
    (copied / "dvc.lock").unlink()
    printed = small.run(copied, *CLEAN)
    assert "clean: data/mog is kept: its files are not recorded\n" in printed
    assert (copied / "data/mog/train.npz").exists() and (copied / "models/mog/dsm.safetensors").exists()


def test_clean_refuses_to_run_while_a_stage_is_running(copied: Path) -> None:
    """DVC lists the processes that read or write outputs; entries of terminated processes are ignored."""
    in_use = copied / ".dvc/tmp/rwlock"
    in_use.parent.mkdir(exist_ok=True)
    process = {"pid": os.getpid(), "cmd": "dvc repro"}
    in_use.write_text(json.dumps({"read": {}, "write": {str(copied / "models/mog/dsm.json"): process}}))
    assert small.run(copied, *CLEAN, status=1) == "error: the pipeline is running\n"
    assert (copied / "models/mog/dsm.json").exists()
    in_use.write_text(json.dumps({"read": {str(copied / "data/mog"): [{**process, "pid": 2**22 + 1}]}, "write": {}}))
    small.run(copied, *CLEAN)
    assert not (copied / "models/mog/dsm.json").exists()
