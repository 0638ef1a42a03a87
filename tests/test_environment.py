"""`make setup` keeps a usable environment, rebuilds an unusable one, and leaves anything else in its place untouched."""

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
    """Run the command of `make setup` for the environment .venv of a folder, without packages; returns its output."""
    (folder / "requirements.txt").touch()
    command = (*(python or PROGRAM[:1]), *PROGRAM[1:], str(folder / ".venv"), str(folder / "requirements.txt"), *options)
    return small.run(ROOT, *command, status=status, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment without packages."""
    folder = tmp_path_factory.mktemp("made")
    assert set_up(folder) == ""
    return folder


def test_usable_environment_is_kept(made: Path) -> None:
    (made / ".venv/mine").touch()
    for options in ((), ("--of-this-python",)):
        assert set_up(made, *options) == "" and (made / ".venv/mine").exists()
    assert subprocess.run([made / ".venv/bin/python", *PROGRAM[1:]], cwd=ROOT, check=False).returncode == 0


def test_environment_puts_its_own_python_first_on_the_path(made: Path) -> None:
    """As in DVC, a process of the environment starts a shell that looks up `python`."""
    code = "import subprocess; print(subprocess.run('command -v python', shell=True, capture_output=True, text=True).stdout)"
    for path in ("/usr/bin:/bin", f"{Path(sys.executable).parent}:/usr/bin:/bin"):
        done = subprocess.run(
            [made / ".venv/bin/python", "-c", code], env={"PATH": path}, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == str(made / ".venv/bin/python")


@pytest.mark.hostile
@pytest.mark.nightly
@pytest.mark.parametrize("damage", ["no pip", "dangling Python", "only pyvenv.cfg"])
def test_broken_environment_is_rebuilt_only_on_request(made: Path, tmp_path: Path, damage: str) -> None:
    broken = tmp_path / ".venv"
    shutil.copytree(made / ".venv", broken, symlinks=True)
    (broken / "mine").touch()
    if damage == "no pip":
        shutil.rmtree(next(broken.glob("lib/*/site-packages/pip")))
    elif damage == "dangling Python":
        (broken / "bin/python").unlink()
        (broken / "bin/python").symlink_to("/nowhere/python")
    else:
        for part in broken.iterdir():
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
    assert set_up(tmp_path, status=1) == f"error: {broken} is broken: `make setup` rebuilds it\n" and (broken / "mine").exists()
    # In an activated environment, its own Python runs the command.
    own = (str(broken / "bin/python"),) if damage == "no pip" else ()
    assert set_up(tmp_path, "--mend", python=own) == f"{broken} is broken: it is rebuilt\n"
    subprocess.run([broken / "bin/python", "-c", "import pip"], check=True)
    assert not (broken / "mine").exists() and [path.name for path in tmp_path.glob(".venv*")] == [".venv"]


@pytest.mark.hostile
@pytest.mark.nightly
def test_failed_rebuild_restores_the_previous_environment(made: Path, tmp_path: Path) -> None:
    old = tmp_path / ".venv"
    shutil.copytree(made / ".venv", old, symlinks=True)
    shutil.rmtree(next(old.glob("lib/*/site-packages/pip")))
    (old / "mine").touch()
    (tmp_path / "requirements.txt").write_text("no-such-package-anywhere==0\n")
    printed = set_up(tmp_path, "--mend", status=1, PIP_NO_INDEX="1")
    assert printed.endswith("error: the packages could not be installed\n")
    assert (old / "mine").exists() and [path.name for path in tmp_path.glob(".venv*")] == [".venv"]


def test_torch_index_is_recorded_and_another_one_requires_a_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").touch()
    installed: list[str] = []
    monkeypatch.setattr(environment, "install_without_cuda", lambda _python, _requirements, index: installed.append(index))
    monkeypatch.setattr(environment, "run", lambda *_: installed.append("default"))
    options = Namespace(
        venv=str(tmp_path / ".venv"), requirements=["r.txt"], torch_index=None, of_this_python=False, mend=False
    )
    environment.install("python", options)
    environment.install("python", Namespace(**{**vars(options), "torch_index": "https://example.org/cpu"}))
    environment.install("python", options)
    assert installed == ["default", "https://example.org/cpu", "https://example.org/cpu"]
    other = Namespace(**{**vars(options), "torch_index": "https://example.org/other"})
    assert not environment.unusable(options.venv, sys.executable, options)
    with pytest.raises(SystemExit, match="has torch from another index: `make setup` rebuilds it"):
        environment.unusable(options.venv, sys.executable, other)


@pytest.mark.hostile
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_existing_path_that_is_no_environment_is_left_untouched(tmp_path: Path, kind: str) -> None:
    existing = tmp_path / ".venv"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("one")
    if kind == "folder":
        shutil.copytree(tmp_path / "thesis", existing)
    elif kind == "file":
        existing.write_text("one")
    else:
        existing.symlink_to("thesis")
    printed = set_up(tmp_path, status=1)
    assert printed == f"error: {existing} is broken and was not created by `make setup`: move it away\n"
    assert (existing if kind == "file" else existing / "chapter").read_text() == "one"


@pytest.mark.parametrize(("oldest", "newest", "age"), [((4, 0), (4, 2), "old"), ((3, 1), (3, 2), "new")])
def test_unsupported_python_is_reported_before_anything_is_removed(
    oldest: tuple[int, int], newest: tuple[int, int], age: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "OLDEST", oldest)
    monkeypatch.setattr(environment, "NEWEST", newest)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/pyvenv.cfg").touch()
    for arguments in ([str(tmp_path / ".venv")], [str(tmp_path / "new")]):
        monkeypatch.setattr(sys, "argv", ["", *arguments, "--mend"])
        with pytest.raises(SystemExit) as ended:
            environment.main()
        assert f", which is too {age}: " in str(ended.value) and "\n" not in str(ended.value)
    assert (tmp_path / ".venv/pyvenv.cfg").exists() and not (tmp_path / "new").exists()


def test_environment_of_another_python_release_is_rebuilt_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / ".venv"
    (old / "bin").mkdir(parents=True)
    (old / "pyvenv.cfg").touch()
    python = old / "bin/python"
    python.write_text("#!/bin/sh\necho 3 12\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    options = Namespace(venv=str(old), torch_index=None, of_this_python=False, mend=True)
    assert not environment.unusable(str(old), str(python), options)
    options.of_this_python = True
    assert environment.unusable(str(old), str(python), options)
    assert capsys.readouterr().out == f"{old} has Python 3.12: it is rebuilt\n"


def test_installation_without_cuda_keeps_all_other_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    commands, others = [], ""

    def record(command: list[str], _: str) -> None:
        nonlocal others
        commands.append(command)
        if "-r" in command:
            others = Path(command[-1]).read_text()

    monkeypatch.setattr(environment, "run", record)
    environment.install_without_cuda("python", [str(ROOT / "requirements.txt")], "https://example.org/cpu")
    torch_command, others_command = commands
    pinned = (ROOT / "requirements.txt").read_text()
    assert torch_command[-3].startswith("https://example.org") and torch_command[-2] in pinned and torch_command[-1] in pinned
    assert [word.split("==")[0] for word in torch_command[-2:]] == ["torch", "torchvision"] and "--no-deps" in others_command
    names, all_names = ({line.split("==")[0] for line in text.splitlines() if "==" in line[:60]} for text in (others, pinned))
    assert all_names - names == {n for n in all_names if n.startswith(("cuda", "nvidia", "triton"))} | {"torch", "torchvision"}
    assert {"dvc", "mlflow", "numpy"} <= names


def test_missing_python_is_reported_in_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    printed = small.run(tmp_path, "make", "setup", "PYTHON=python9", status=2)
    assert printed.splitlines()[0] == "error: there is no python9 here: PYTHON=... names another Python"


def test_packages_are_compiled_after_their_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "template.py").write_text("{{ x }} = 1\n")
    monkeypatch.setattr(environment, "packages", lambda _: str(tmp_path))
    environment.compile_packages(sys.executable)
    assert [path.name.split(".")[0] for path in (tmp_path / "__pycache__").iterdir()] == ["good"]
