"""Checks of the Git repository: if DVC cannot work or would lose results, one line says so before any work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stages.core import repository
from stages.core.errors import UserError
from tests.small import clone, run


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run(["git", "-C", folder, *author, *arguments], capture_output=True, text=True, check=True).stdout


def archive(folder: Path) -> Path:
    """The project as unpacked from a downloaded archive, which has no Git history."""
    repo = clone(folder / "repo")
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    git(repo, "checkout-index", "--all", f"--prefix={unpacked}/")
    return unpacked


@pytest.mark.parametrize("command", [("stages.tools.verify",), ("stages.tools.parallel", "1")])
def test_a_command_in_an_unpacked_archive_asks_for_a_git_repository(tmp_path: Path, command: tuple[str, ...]) -> None:
    folder = archive(tmp_path)
    before = sorted(folder.rglob("*"))
    output = run(folder, "python", "-m", *command, status=1)
    assert (
        output.startswith("error: this folder is not in a Git repository, which DVC requires: clone the project")
        and output.count("\n") == 1
    )
    assert [path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts] == before


def test_a_project_inside_another_repository_works(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    git(tmp_path, "init", "--quiet")
    run(folder, "dvc", "repro", "mog_data")
    assert (folder / "data/mog/train.npz").exists()


def test_missing_git_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^git is not on the PATH"):
        repository.check()


@pytest.fixture
def shallow(tmp_path: Path) -> Path:
    """A shallow clone of the project."""
    repo = clone(tmp_path / "repo")
    git(repo, "commit", "--quiet", "--allow-empty", "--message=second")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repo}", "shallow")
    return tmp_path / "shallow"


def test_an_experiment_is_rejected_only_in_a_copy_of_a_shallow_clone(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "some-name")
    monkeypatch.setenv("DVC_ROOT", str(shallow))
    monkeypatch.chdir(shallow)
    repository.check_experiment()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"shallow: run `git fetch --unshallow` first$"):
        repository.check_experiment()
    git(shallow, "fetch", "--quiet", "--unshallow")
    repository.check_experiment()


@pytest.mark.integration
def test_an_experiment_in_a_copy_fails_until_the_clone_has_its_history(shallow: Path) -> None:
    output = run(shallow, "dvc", "exp", "run", "--temp", "-S", "seed=7", "mog_data", status=255)
    assert "error: DVC would lose this experiment, since the clone is shallow: run `git fetch --unshallow` first" in output
    run(shallow, "git", "fetch", "--quiet", "--unshallow")
    run(shallow, "dvc", "exp", "run", "--temp", "-S", "seed=7", "--name", "kept", "mog_data")
    assert "kept" in run(shallow, "dvc", "exp", "list")
