"""`make setup`: an environment that can be used stays, one that cannot is made anew, and what is none is left alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from stages.tools import environment
from tests import small

PROGRAM = (sys.executable, "stages/tools/environment.py")


def set_up(folder: Path, *options: str, status: int = 0, python: tuple[str, ...] = (), **more: str) -> str:
    """Run the command for the environment .venv of a folder, without packages."""
    (folder / "requirements.txt").touch()
    command = (*(python or PROGRAM[:1]), *PROGRAM[1:], str(folder / ".venv"), str(folder / "requirements.txt"), *options)
    return small.run(ROOT, *command, status=status, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment without packages."""
    folder = tmp_path_factory.mktemp("made")
    assert set_up(folder) == ""
    return folder


def test_one_that_can_be_used_stays(made: Path) -> None:
    (made / ".venv/mine").touch()
    for options in ((), ("--of-this-python",)):
        assert set_up(made, *options) == "" and (made / ".venv/mine").exists()
    assert subprocess.run([made / ".venv/bin/python", *PROGRAM[1:]], cwd=ROOT, check=False).returncode == 0


def test_its_dvc_runs_its_python_whoever_is_first_on_the_path(made: Path) -> None:
    """As DVC does: a process of the environment starts a shell that looks for `python`."""
    ask = "import subprocess; print(subprocess.run('command -v python', shell=True, capture_output=True, text=True).stdout)"
    for path in ("/usr/bin:/bin", f"{Path(sys.executable).parent}:/usr/bin:/bin"):
        said = subprocess.run(
            [made / ".venv/bin/python", "-c", ask], env={"PATH": path}, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == str(made / ".venv/bin/python")


@pytest.mark.hostile
@pytest.mark.nightly
@pytest.mark.parametrize("damage", ["no pip", "its Python is gone", "nothing but its settings"])
def test_one_that_is_broken_is_made_anew_where_that_is_asked_for(made: Path, tmp_path: Path, damage: str) -> None:
    broken = tmp_path / ".venv"
    shutil.copytree(made / ".venv", broken, symlinks=True)
    (broken / "mine").touch()
    if damage == "no pip":
        shutil.rmtree(next(broken.glob("lib/*/site-packages/pip")))
    elif damage == "its Python is gone":
        (broken / "bin/python").unlink()
        (broken / "bin/python").symlink_to("/nowhere/python")
    else:
        for part in broken.iterdir():
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
    assert set_up(tmp_path, status=1) == f"error: {broken} is broken: `make setup` rebuilds it\n" and (broken / "mine").exists()
    # In an activated environment it is its own Python that is asked to make it anew.
    own = (str(broken / "bin/python"),) if damage == "no pip" else ()
    assert set_up(tmp_path, "--mend", python=own) == f"{broken} is broken: it is rebuilt\n"
    subprocess.run([broken / "bin/python", "-c", "import pip"], check=True)
    assert not (broken / "mine").exists() and [path.name for path in tmp_path.glob(".venv*")] == [".venv"]


@pytest.mark.hostile
@pytest.mark.nightly
def test_one_that_cannot_be_made_anew_is_put_back(made: Path, tmp_path: Path) -> None:
    old = tmp_path / ".venv"
    shutil.copytree(made / ".venv", old, symlinks=True)
    shutil.rmtree(next(old.glob("lib/*/site-packages/pip")))
    (old / "mine").touch()
    (tmp_path / "requirements.txt").write_text("no-such-package-anywhere==0\n")
    said = set_up(tmp_path, "--mend", status=1, PIP_NO_INDEX="1")
    assert said.endswith("error: the packages could not be installed\n")
    assert (old / "mine").exists() and [path.name for path in tmp_path.glob(".venv*")] == [".venv"]


def test_the_index_of_torch_is_remembered_and_another_one_needs_a_new_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").touch()
    used: list[str] = []
    monkeypatch.setattr(environment, "install_without_cuda", lambda _python, _requirements, index: used.append(index))
    monkeypatch.setattr(environment, "run", lambda *_: used.append("usual"))
    asked = Namespace(venv=str(tmp_path / ".venv"), requirements=["r.txt"], torch_index=None, of_this_python=False, mend=False)
    environment.install("python", asked)
    environment.install("python", Namespace(**{**vars(asked), "torch_index": "https://example.org/cpu"}))
    environment.install("python", asked)
    assert used == ["usual", "https://example.org/cpu", "https://example.org/cpu"]
    other = Namespace(**{**vars(asked), "torch_index": "https://example.org/other"})
    assert not environment.unusable(asked.venv, sys.executable, asked)
    with pytest.raises(SystemExit, match="has torch from another index: `make setup` rebuilds it"):
        environment.unusable(asked.venv, sys.executable, other)


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_environment_is_left_to_its_user(tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / ".venv"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("one")
    if kind == "folder":
        shutil.copytree(tmp_path / "thesis", theirs)
    elif kind == "file":
        theirs.write_text("one")
    else:
        theirs.symlink_to("thesis")
    said = set_up(tmp_path, status=1)
    assert said == f"error: {theirs} is broken and was not created by `make setup`: move it away\n"
    assert (theirs if kind == "file" else theirs / "chapter").read_text() == "one"


@pytest.mark.parametrize(("oldest", "newest", "kind"), [((4, 0), (4, 2), "old"), ((3, 1), (3, 2), "new")])
def test_a_python_that_does_not_do_is_one_line_before_anything_is_removed(
    oldest: tuple[int, int], newest: tuple[int, int], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "OLDEST", oldest)
    monkeypatch.setattr(environment, "NEWEST", newest)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").touch()
    for arguments in ([str(tmp_path / ".venv")], [str(tmp_path / "new")]):
        monkeypatch.setattr(sys, "argv", ["", *arguments, "--mend"])
        with pytest.raises(SystemExit) as ended:
            environment.main()
        assert f", which is too {kind}: " in str(ended.value) and "\n" not in str(ended.value)
    assert (tmp_path / ".venv/pyvenv.cfg").exists() and not (tmp_path / "new").exists()


def test_an_environment_of_another_release_is_made_anew_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / ".venv"
    (old / "bin").mkdir(parents=True)
    (old / "pyvenv.cfg").touch()
    python = old / "bin/python"
    python.write_text("#!/bin/sh\necho 3 12\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    asked = Namespace(venv=str(old), torch_index=None, of_this_python=False, mend=True)
    assert not environment.unusable(str(old), str(python), asked)
    asked.of_this_python = True
    assert environment.unusable(str(old), str(python), asked)
    assert capsys.readouterr().out == f"{old} has Python 3.12: it is rebuilt\n"


def test_without_cuda_all_else_is_installed_as_it_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, kept = [], ""

    def record(command: list[str], _: str) -> None:
        nonlocal kept
        commands.append(command)
        if "-r" in command:
            kept = Path(command[-1]).read_text()

    monkeypatch.setattr(environment, "run", record)
    environment.install_without_cuda("python", [str(ROOT / "requirements.txt")], "https://example.org/cpu")
    torch, others = commands
    pinned = (ROOT / "requirements.txt").read_text()
    assert torch[-3].startswith("https://example.org") and torch[-2] in pinned and torch[-1] in pinned
    assert [word.split("==")[0] for word in torch[-2:]] == ["torch", "torchvision"] and "--no-deps" in others
    names, all_names = ({line.split("==")[0] for line in text.splitlines() if "==" in line[:60]} for text in (kept, pinned))
    assert all_names - names == {n for n in all_names if n.startswith(("cuda", "nvidia", "triton"))} | {"torch", "torchvision"}
    assert {"dvc", "mlflow", "numpy"} <= names


def test_a_python_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    said = small.run(tmp_path, "make", "setup", "PYTHON=python9", status=2)
    assert said.splitlines()[0] == "error: there is no python9 here: PYTHON=... names another Python"
