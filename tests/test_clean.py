"""`make clean`: what the pipeline made goes and comes back, what somebody else put there stays."""

from __future__ import annotations

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
    assert said == "clean: data/mog stays: what is left in it is not the pipeline's\n"
    assert all(file.read_text() == "mine" for file in theirs)
    left = {str(path.relative_to(copied)) for name in ("data", "models", "reports") for path in (copied / name).rglob("*.*")}
    assert left == {name for name in tracked if name.startswith(("data/", "models/", "reports/"))} | {
        str(file.relative_to(copied)) for file in theirs if "." in file.name
    }
    assert not small.run(copied, "git", "status", "--porcelain")
    small.run(copied, "dvc", "checkout")
    assert (copied / "models/mog/dsm.safetensors").exists() and (copied / "data/mog/test.npz").exists()
    small.run(copied, *CLEAN)


def test_a_folder_of_which_nothing_is_known_stays(copied: Path) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    said = small.run(copied, *CLEAN)
    assert "clean: data/mog stays: DVC's cache does not know its files\n" in said
    assert (copied / "data/mog/test.npz").exists() and not (copied / "models/mog/dsm.safetensors").exists()


@pytest.mark.hostile
def test_links_lead_nobody_outside(copied: Path, tmp_path: Path) -> None:
    """The data of somebody who keeps them on another disk."""
    outside = tmp_path / "disk"
    shutil.move(copied / "models/mog", outside)
    (copied / "models/mog").symlink_to(outside)
    (outside / "mine.pt").write_text("mine")
    small.run(copied, *CLEAN)
    assert (outside / "mine.pt").read_text() == "mine" and (copied / "models/mog").is_symlink()
