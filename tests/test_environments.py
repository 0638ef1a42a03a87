"""Any command in any environment works, or says what is wrong: no traceback, no other byte, nothing of the user lost."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stages.dag.lock import LOCK, entries, file_md5, outputs
from tests import small

TRIES, PARTS = 200, 20
SEED = int(os.environ.get("ENVIRONMENTS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""Each night has its own; a night is repeated by the seed that a failure prints."""


@dataclass
class Surroundings:
    """Where and how a command is run: changed by each of the circumstances that come together."""

    folder: Path
    scratch: Path
    variables: dict[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    """Lines of shell before the command."""


Circumstance = Callable[[Surroundings], None]


def variable(name: str, value: str) -> Circumstance:
    """A variable of the environment; `{scratch}` in its value is a folder outside the project."""

    def change(where: Surroundings) -> None:
        where.variables[name] = value.format(scratch=where.scratch)

    return change


def limit(line: str) -> Circumstance:
    """A line of shell before the command."""
    return lambda where: where.limits.append(line)


def stray(name: str, content: bytes = b"\x00") -> Circumstance:
    """A file that some tool leaves in the project."""

    def change(where: Surroundings) -> None:
        path = where.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return change


def git(*words: str) -> Circumstance:
    """A setting of git in the clone."""
    return lambda where: small.run(where.folder, "git", *words) and None


def moved(name: str) -> Circumstance:
    """The project in a folder of that name."""

    def change(where: Surroundings) -> None:
        where.folder = where.folder.rename(where.folder.with_name(name))

    return change


def linked(where: Surroundings) -> None:
    """The project reached through a symbolic link."""
    link = where.folder.with_name("link")
    link.symlink_to(where.folder, target_is_directory=True)
    where.folder = link


def without_repository(where: Surroundings) -> None:
    """An archive of the project, without .git."""
    shutil.rmtree(where.folder / ".git")


def in_another_repository(where: Surroundings) -> None:
    """The project inside another repository."""
    small.run(where.scratch, "git", "init", "--quiet")
    where.folder = Path(shutil.move(where.folder, where.scratch / "inner"))


CIRCUMSTANCES: dict[str, Circumstance] = {
    "Turkish": variable("LC_ALL", "tr_TR.UTF-8"),
    "the C locale": variable("LC_ALL", "C"),
    "a locale that there is not": variable("LC_ALL", "xx_YY.UTF-8"),
    "ASCII output": variable("PYTHONIOENCODING", "ascii"),
    "no UTF-8 mode": variable("PYTHONUTF8", "0"),
    "optimised": variable("PYTHONOPTIMIZE", "2"),
    "another hash seed": variable("PYTHONHASHSEED", "12345"),
    "all warnings": variable("PYTHONWARNINGS", "always"),
    "development mode": variable("PYTHONDEVMODE", "1"),
    "a narrow terminal": variable("COLUMNS", "20"),
    "colours forced": variable("FORCE_COLOR", "1"),
    "a dumb terminal": variable("TERM", "dumb"),
    "another time zone": variable("TZ", "Pacific/Chatham"),
    "a backend with windows": variable("MPLBACKEND", "TkAgg"),
    "a backend that there is not": variable("MPLBACKEND", "nosuch"),
    "seven OpenMP threads": variable("OMP_NUM_THREADS", "7"),
    "OpenMP nonsense": variable("OMP_NUM_THREADS", "many"),
    "an OpenMP limit": variable("OMP_THREAD_LIMIT", "1"),
    "dynamic OpenMP": variable("OMP_DYNAMIC", "true"),
    "another OpenMP schedule": variable("OMP_SCHEDULE", "dynamic,1"),
    "five MKL threads": variable("MKL_NUM_THREADS", "5"),
    "MKL in another mode": variable("MKL_CBWR", "COMPATIBLE"),
    "torch's home nowhere": variable("TORCH_HOME", "/nonexistent"),
    "torch without its fast paths": variable("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"),
    "no GPU": variable("CUDA_VISIBLE_DEVICES", ""),
    "a home nowhere": variable("HOME", "/nonexistent"),
    "a cache that is a file": variable("XDG_CACHE_HOME", "/dev/null"),
    "a temporary folder with a space": variable("TMPDIR", "{scratch}/a b"),
    "a temporary folder nowhere": variable("TMPDIR", "/nonexistent"),
    "a relative store": variable("MLFLOW_TRACKING_URI", "sqlite:///runs.db"),
    "a store nowhere": variable("MLFLOW_TRACKING_URI", "sqlite:////nonexistent/runs.db"),
    "a store of no kind": variable("MLFLOW_TRACKING_URI", "banana://x"),
    "an experiment's name": variable("MLFLOW_EXPERIMENT_NAME", "mine; rm -rf *"),
    "a foreign PYTHONPATH": variable("PYTHONPATH", "{scratch}"),
    "a foreign start-up file": variable("PYTHONSTARTUP", "/nonexistent.py"),
    "few open files": limit("ulimit -n 128"),
    "files that only the owner reads": limit("umask 077"),
    "no standard input": limit("exec <&-"),
    "an empty standard input": limit("exec </dev/null"),
    "no core files": limit("ulimit -c 0"),
    "a Mac's files": stray("stages/pipeline/.DS_Store"),
    "a Mac's other files": stray("stages/methods/._dsm.py"),
    "an editor's swap file": stray("stages/metrics/.sampling.py.swp"),
    "an editor's backup": stray("stages/nn/noise.py~"),
    "a rejected patch": stray("stages/plots/canvas.py.orig"),
    "a notebook's checkpoints": stray("stages/methods/.ipynb_checkpoints/dsm-checkpoint.py", b"import nothing\n"),
    "a method half written": stray("stages/methods/half.py", b"class Half(\n"),
    "a file that is no text": stray("stages/methods/notes.txt", bytes(range(256))),
    "a matplotlibrc": stray("matplotlibrc", b"savefig.dpi: 33\ntext.usetex: True\n"),
    "a .env": stray(".env", b"SEED=7\n"),
    "own settings of DVC": stray(".dvc/config.local", b"[core]\n    autostage = true\n    analytics = false\n"),
    "line ends converted": git("config", "core.autocrlf", "true"),
    "no file modes": git("config", "core.fileMode", "false"),
    "a detached head": git("checkout", "--quiet", "--detach"),
    "names in ASCII": git("config", "core.quotePath", "true"),
    "a folder with a space and a quote": moved("it's my project"),
    "a folder with signs of an address": moved("a%2Fb?c#d"),
    "a folder in another script": moved("проект 計画"),
    "a symbolic link": linked,
    "no repository": without_repository,
    "another repository": in_another_repository,
}
STAGES = {
    "python -m stages.mog.data": "mog_data",
    "python -m stages.mog.train dsm": "mog_train@dsm",
    "python -m stages.mog.evaluate dsm": "mog_evaluate@dsm",
    "python -m stages.mog.figures contrastive": "mog_figures@contrastive",
    "python -m stages.mnist.data": "mnist_data",
    "python -m stages.mnist.perturb": "mnist_perturb",
    "python -m stages.mnist.train jepa_ema": "mnist_train@jepa_ema",
    "python -m stages.mnist.evaluate jepa_ema": "mnist_evaluate@jepa_ema",
    "python -m stages.mnist.reconstruct jepa_ema": "mnist_reconstruct@jepa_ema",
    "python -m stages.mnist.figures": "mnist_figures",
    "python -m stages.compare": "compare",
    "python -m stages.claims": "claims",
    "python -m stages.report": "report",
}
"""Commands that make the outputs of a stage anew."""
OTHERS = {
    "dvc status": 0,
    "dvc repro": 0,
    "dvc repro --force --single-item claims": 0,
    "dvc dag --md": 0,
    "dvc metrics show": 0,
    "dvc params diff": 0,
    "dvc plots show --out shown": 0,
    "dvc exp run -S dsm.sigma=0.41 mog_train@dsm": 0,
    "dvc exp run --temp -S dsm.sigma=0.42 mog_train@dsm": 0,
    "dvc exp show --no-pager": 0,
    "dvc checkout --force": 0,
    "python -m stages.tools.check": 0,
    "python -m stages.tools.verify": 0,
    "python -m stages.tools.parallel 2": 0,
    "python -m stages.tools.pull_request HEAD": 0,
    "python -m stages.tools.readme": 0,
    "python -m stages.tools.clean": 0,
    "python -m stages.track": 0,
    "python -m stages.mog.train nosuch": 1,
    "python -m stages.mog.train": 1,
    "python -m stages.studies.run nosuch": 1,
    "python -m stages.tools.ui banana": 1,
}
"""Other commands, and how they end."""
MAY_REFUSE = {
    "no repository",
    "another repository",
    "few open files",
    "a temporary folder nowhere",
    "a home nowhere",
    "a store of no kind",
    "a store nowhere",
    # DVC's own copy for a temporary experiment misreads these.
    "a folder with signs of an address",
}
"""Circumstances under which a command may say that it can't work."""
OTHER_BYTES = {"MKL in another mode"}
"""Circumstances that the record of the machine has, since they change the last digits."""
CHANGES_PARAMS = "dvc exp run -S"
CLEANS = "python -m stages.tools.clean"


def drawn(numbers: random.Random) -> tuple[list[str], str]:
    """One to three circumstances, and a command: as often one that makes outputs as another one."""
    return numbers.sample(sorted(CIRCUMSTANCES), numbers.randint(1, 3)), numbers.choice(
        [numbers.choice(sorted(STAGES)), numbers.choice(sorted(OTHERS))]
    )


def own_files(folder: Path, tracked: list[str], command: str) -> dict[str, bytes]:
    """What is the user's: all files that git tracks but for what runs write, and those that nothing ignores or makes."""
    written = r"reports/|dvc\.lock$|README\.md$|.*\.gitignore$" + (
        r"|params\.yaml$" if command.startswith(CHANGES_PARAMS) else ""
    )
    names = [name for name in tracked if not re.match(written, name)]
    names += [
        "notes of mine.txt",
        "matplotlibrc",
        ".env",
        ".dvc/config.local",
        "stages/methods/half.py",
        "stages/methods/notes.txt",
    ]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(PARTS))
def test_any_command_anywhere_works_or_is_a_line(
    reproduced: Path, tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    numbers = random.Random(f"{SEED} {part}")
    record_property("tries", TRIES // PARTS)
    for number in range(TRIES // PARTS):
        circumstances, command = drawn(numbers)
        about = f"ENVIRONMENTS_SEED={SEED}, part {part}, try {number}: {command}, with {', '.join(circumstances)}"
        tried(reproduced, tmp_path / str(number), circumstances, command, about)
        shutil.rmtree(tmp_path / str(number))


def tried(reproduced: Path, place: Path, circumstances: list[str], command: str, about: str) -> None:
    """Run a command in a copy of the small clone under circumstances, and look at what it says and leaves."""
    scratch = place / "scratch"
    (scratch / "a b").mkdir(parents=True)
    shutil.copytree(reproduced, place / "clone", symlinks=True, ignore=shutil.ignore_patterns("tmp"))
    where = Surroundings(place / "clone", scratch)
    (where.folder / "notes of mine.txt").write_text("mine\n")
    tracked = small.run(where.folder, "git", "ls-files", "-z").rstrip("\0").split("\0")
    # In the order of the list, where what moves the project comes last.
    for name in sorted(circumstances, key=list(CIRCUMSTANCES).index):
        CIRCUMSTANCES[name](where)
    before = own_files(where.folder, tracked, command)
    made = outputs(entries(reproduced / LOCK))
    for path in made.get(STAGES.get(command, ""), {}):
        remove(where.folder / path)
    python = f'PATH="{Path(sys.executable).parent}:$PATH"'
    done = subprocess.run(
        ["sh", "-c", "\n".join([*where.limits, f"{python} timeout 300 {command}"])],
        cwd=where.folder,
        env=small.environment(**{"PWD": str(where.folder), **where.variables}),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stdout + done.stderr
    story = f"{about}: status {done.returncode}\n{said[-3000:]}"
    assert "Traceback (most recent call last)" not in said, story
    if not done.returncode:
        assert OTHERS.get(command, 0) == 0, story
    else:
        assert done.returncode in (1, 2, 255) and re.search(r"^(error|ERROR|usage)\b", said, re.MULTILINE), story
        assert OTHERS.get(command, 0) or MAY_REFUSE & set(circumstances), story
    lost = [name for name, content in before.items() if not same(where.folder / name, content)]
    assert not lost, f"{lost[:5]} {story}"
    if (
        not done.returncode
        and not OTHER_BYTES & set(circumstances)
        and command != CLEANS
        and not command.startswith(CHANGES_PARAMS)
    ):
        wanted = made[STAGES[command]] if command in STAGES else {p: md5 for outs in made.values() for p, md5 in outs.items()}
        other = [path for path, md5 in wanted.items() if file_md5(where.folder / path) != md5]
        assert not other, f"other bytes in {other[:5]} {story}"


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def same(path: Path, content: bytes) -> bool:
    """Whether a file is there and as it was."""
    return path.is_file() and path.read_bytes() == content
