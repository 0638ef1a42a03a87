"""A user's settings, thread limits, stray files and mistaken commands change no result, and errors take one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.paths import ROOT
from tests import small

USER_STYLE = """
figure.dpi: 300
savefig.dpi: 33
font.family: serif
axes.grid: True
axes.formatter.use_locale: True
image.cmap: gray
lines.linewidth: 9
text.usetex: True
"""
"""A matplotlibrc. TeX, which it requires, may not be installed."""


@pytest.mark.parametrize("place", ["MATPLOTLIBRC", "MPLCONFIGDIR", "project folder"])
def test_matplotlibrc_does_not_change_a_figure(copied: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "matplotlibrc").write_text(USER_STYLE)
    if place == "project folder":
        (copied / "matplotlibrc").write_text(USER_STYLE)
    pictures = [copied / "reports/figures/mog/dsm/landscape.png", copied / "reports/animations/mog/dsm/walk.gif"]
    before = [picture.read_bytes() for picture in pictures]
    for picture in pictures:
        picture.unlink()
    variables = {place: str(tmp_path)} if place.isupper() else {}
    small.run(copied, "python", "-m", "stages.mog.figures", "dsm", **variables)
    assert [picture.read_bytes() for picture in pictures] == before


@pytest.mark.parametrize("command", ["stages.mog.figures dsm", "stages.mnist.figures", "stages.compare", "stages.report"])
def test_unknown_matplotlib_backend_stops_no_stage(copied: Path, command: str) -> None:
    small.run(copied, "python", "-m", *command.split(), MPLBACKEND="nosuch")


OPENMP = {"OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true", "OMP_MAX_ACTIVE_LEVELS": "0"}
EACH = [pytest.param({name: value}, marks=pytest.mark.nightly) for name, value in OPENMP.items()]


@pytest.mark.parametrize("variables", [OPENMP, *EACH])
def test_openmp_variables_neither_block_nor_change_a_training(copied: Path, variables: dict[str, str]) -> None:
    small.change_params(copied, {"threads": 2})
    models = []
    for more in ({}, variables):
        done = subprocess.run(
            [sys.executable, "-m", "stages.mnist.train", "jepa_ema"],
            cwd=copied,
            env=small.environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        models.append((copied / "models/mnist/jepa_ema.safetensors").read_bytes())
    assert models[0] == models[1]


def test_git_does_not_convert_line_ends() -> None:
    """Converted files would have other digests, and every stage of a clone would be stale."""
    names = ("params.yaml", "stages/methods/dsm.py", "dvc.lock", "reports/table.md")
    printed = small.run(ROOT, "git", "check-attr", "text", "--", *names)
    assert printed.splitlines() == [f"{name}: text: unset" for name in names]


@pytest.mark.parametrize("command", ["stages.mog.train dsm", "stages.tools.verify", "stages.claims"])
def test_python_without_the_packages_is_reported_in_one_line(tmp_path: Path, command: str) -> None:
    """As when another Python is first on the PATH, because the environment is not activated."""
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    done = subprocess.run([bare / "bin/python", "-m", *command.split()], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"error: {bare}/bin/python has no package ")
    assert re.search(r", which stages/\S+\.py, line \d+, imports: ", done.stderr)
    assert done.stderr.endswith("`. .venv/bin/activate`, or create it with `make setup`\n") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("stages.mog.train nosuch", "barlow_twins, "),
        ("stages.mnist.train dsm", "barlow_twins, "),
        ("stages.mog.evaluate mnist_jepa_ema", ""),
    ],
)
def test_unknown_method_is_rejected_with_the_methods_of_the_domain(command: str, names: str) -> None:
    printed = small.run(ROOT, "python", "-m", *command.split(), status=1)
    assert printed.startswith(f"error: '{command.split()[1]}' is not a method of this stage: expected one of {names}")
    assert "mnist_" not in printed.split("expected")[1] and printed.count("\n") == 1


STRAYS = [
    ".DS_Store",
    "._notes",
    "Thumbs.db",
    "notes~",
    ".train.py.swp",
    ".#train.py",
    "train.py.orig",
    ".idea/workspace.xml",
    "__pycache__/x.pyc",
]
"""Files of editors, file managers and tools."""


def test_files_of_editors_and_file_managers_make_no_stage_stale(copied: Path) -> None:
    folders = small.folders(copied)
    assert {copied / "stages/nn", copied / "data/mog"} <= set(folders)
    for folder in folders:
        for stray in STRAYS:
            (folder / stray).parent.mkdir(exist_ok=True)
            (folder / stray).write_text("left behind")
    assert "up to date" in small.run(copied, "dvc", "status")
    assert small.run(copied, "python", "-m", "stages.tools.verify") == ""
