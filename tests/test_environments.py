"""Any command in any environment succeeds or reports an error: no traceback, equal bytes, no user file lost."""

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
"""Commands that are tried, and the tests that they are divided among."""
SEED = int(os.environ.get("ENVIRONMENTS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
"""New in every run; a failure prints it, so that the run can be repeated."""


@dataclass
class Environment:
    """The environment of a command.

    Attributes:
        folder: the project.
        scratch: a folder outside the project.
        variables: environment variables.
        limits: lines of shell before the command.
    """

    folder: Path
    scratch: Path
    variables: dict[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)


Condition = Callable[[Environment], None]
"""A change of the environment."""


def variable(name: str, value: str) -> Condition:
    """An environment variable; `{scratch}` in its value is a folder outside the project."""

    def change(environment: Environment) -> None:
        environment.variables[name] = value.format(scratch=environment.scratch)

    return change


def limit(line: str) -> Condition:
    """A line of shell before the command."""
    return lambda environment: environment.limits.append(line)


def stray(name: str, content: bytes = b"\x00") -> Condition:
    """A file that a tool leaves in the project."""

    def change(environment: Environment) -> None:
        path = environment.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return change


def git(*arguments: str) -> Condition:
    """The effect of a git command in the clone."""
    return lambda environment: small.run(environment.folder, "git", *arguments) and None


def moved(name: str) -> Condition:
    """The project in a folder of that name."""

    def change(environment: Environment) -> None:
        environment.folder = environment.folder.rename(environment.folder.with_name(name))

    return change


def linked(environment: Environment) -> None:
    """The project behind a symbolic link."""
    link = environment.folder.with_name("link")
    link.symlink_to(environment.folder, target_is_directory=True)
    environment.folder = link


def without_repository(environment: Environment) -> None:
    """The project without .git, as from an archive."""
    shutil.rmtree(environment.folder / ".git")


def in_another_repository(environment: Environment) -> None:
    """The project inside another repository."""
    small.run(environment.scratch, "git", "init", "--quiet")
    environment.folder = Path(shutil.move(environment.folder, environment.scratch / "inner"))


CONDITIONS: dict[str, Condition] = {
    "Turkish locale": variable("LC_ALL", "tr_TR.UTF-8"),
    "C locale": variable("LC_ALL", "C"),
    "unknown locale": variable("LC_ALL", "xx_YY.UTF-8"),
    "ASCII output": variable("PYTHONIOENCODING", "ascii"),
    "no UTF-8 mode": variable("PYTHONUTF8", "0"),
    "optimised bytecode": variable("PYTHONOPTIMIZE", "2"),
    "another hash seed": variable("PYTHONHASHSEED", "12345"),
    "all warnings shown": variable("PYTHONWARNINGS", "always"),
    "Python development mode": variable("PYTHONDEVMODE", "1"),
    "narrow terminal": variable("COLUMNS", "20"),
    "forced colours": variable("FORCE_COLOR", "1"),
    "dumb terminal": variable("TERM", "dumb"),
    "another time zone": variable("TZ", "Pacific/Chatham"),
    "interactive matplotlib backend": variable("MPLBACKEND", "TkAgg"),
    "unknown matplotlib backend": variable("MPLBACKEND", "nosuch"),
    "seven OpenMP threads": variable("OMP_NUM_THREADS", "7"),
    "invalid number of OpenMP threads": variable("OMP_NUM_THREADS", "many"),
    "OpenMP thread limit": variable("OMP_THREAD_LIMIT", "1"),
    "dynamic OpenMP threads": variable("OMP_DYNAMIC", "true"),
    "another OpenMP schedule": variable("OMP_SCHEDULE", "dynamic,1"),
    "five MKL threads": variable("MKL_NUM_THREADS", "5"),
    "another MKL mode": variable("MKL_CBWR", "COMPATIBLE"),
    "missing folder of torch": variable("TORCH_HOME", "/nonexistent"),
    "overridden TF32 setting of torch": variable("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1"),
    "no GPU": variable("CUDA_VISIBLE_DEVICES", ""),
    "missing home": variable("HOME", "/nonexistent"),
    "file as cache folder": variable("XDG_CACHE_HOME", "/dev/null"),
    "temporary folder with a space": variable("TMPDIR", "{scratch}/a b"),
    "missing temporary folder": variable("TMPDIR", "/nonexistent"),
    "relative store URI": variable("MLFLOW_TRACKING_URI", "sqlite:///runs.db"),
    "store in a missing folder": variable("MLFLOW_TRACKING_URI", "sqlite:////nonexistent/runs.db"),
    "store URI of unknown type": variable("MLFLOW_TRACKING_URI", "banana://x"),
    "another experiment name": variable("MLFLOW_EXPERIMENT_NAME", "mine; rm -rf *"),
    "foreign PYTHONPATH": variable("PYTHONPATH", "{scratch}"),
    "missing PYTHONSTARTUP": variable("PYTHONSTARTUP", "/nonexistent.py"),
    "few open files": limit("ulimit -n 128"),
    "files readable only by their owner": limit("umask 077"),
    "closed standard input": limit("exec <&-"),
    "empty standard input": limit("exec </dev/null"),
    "no core dumps": limit("ulimit -c 0"),
    "macOS folder settings": stray("stages/pipeline/.DS_Store"),
    "macOS resource fork": stray("stages/methods/._dsm.py"),
    "editor's swap file": stray("stages/metrics/.sampling.py.swp"),
    "editor's backup": stray("stages/nn/noise.py~"),
    "original of a patched file": stray("stages/plots/canvas.py.orig"),
    "notebook checkpoint": stray("stages/methods/.ipynb_checkpoints/dsm-checkpoint.py", b"import nothing\n"),
    "incomplete method file": stray("stages/methods/half.py", b"class Half(\n"),
    "binary file": stray("stages/methods/notes.txt", bytes(range(256))),
    "matplotlibrc": stray("matplotlibrc", b"savefig.dpi: 33\ntext.usetex: True\n"),
    ".env": stray(".env", b"SEED=7\n"),
    "local settings of DVC": stray(".dvc/config.local", b"[core]\n    autostage = true\n    analytics = false\n"),
    "converted line ends": git("config", "core.autocrlf", "true"),
    "ignored file modes": git("config", "core.fileMode", "false"),
    "detached HEAD": git("checkout", "--quiet", "--detach"),
    "quoted file names": git("config", "core.quotePath", "true"),
    "folder with spaces and a quote": moved("it's my project"),
    "folder with URI characters": moved("a%2Fb?c#d"),
    "folder in other scripts": moved("проект 計画"),
    "symbolic link": linked,
    "no repository": without_repository,
    "inside another repository": in_another_repository,
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
"""Commands that regenerate the outputs of a stage."""
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
"""Other commands, with their exit status."""
MAY_FAIL = {
    "no repository",
    "inside another repository",
    "few open files",
    "missing temporary folder",
    "missing home",
    "store URI of unknown type",
    "store in a missing folder",
    # DVC misreads the path when it copies the project for a temporary experiment.
    "folder with URI characters",
}
"""Conditions under which a command may fail with an error message."""
OTHER_BYTES = {"another MKL mode"}
"""Conditions that change the last digits, and are therefore environment facts in reports/machine.json."""
CHANGES_PARAMS = "dvc exp run -S"
FILLS_PAGES = "python -m stages.tools.readme"
CLEANS = "python -m stages.tools.clean"


def draw(rng: random.Random) -> tuple[list[str], str]:
    """Draw one to three conditions and a command, of STAGES or OTHERS with equal probability."""
    return rng.sample(sorted(CONDITIONS), rng.randint(1, 3)), rng.choice(
        [rng.choice(sorted(STAGES)), rng.choice(sorted(OTHERS))]
    )


def user_files(folder: Path, tracked: list[str], command: str) -> dict[str, bytes]:
    """The content of the user's files: tracked files that the command does not write, and the files that this test adds."""
    written = r"reports/|dvc\.lock$|README\.md$|.*\.gitignore$"
    written += r"|params\.yaml$" if command.startswith(CHANGES_PARAMS) else r"|docs/" if command == FILLS_PAGES else ""
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
def test_any_command_succeeds_or_reports_an_error(
    reproduced: Path, tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    rng = random.Random(f"{SEED} {part}")
    record_property("tries", TRIES // PARTS)
    for number in range(TRIES // PARTS):
        conditions, command = draw(rng)
        about = f"ENVIRONMENTS_SEED={SEED}, part {part}, try {number}: {command}, with {', '.join(conditions)}"
        check(reproduced, tmp_path / str(number), conditions, command, about)
        shutil.rmtree(tmp_path / str(number))


def check(reproduced: Path, place: Path, conditions: list[str], command: str, about: str) -> None:
    """Run a command in a copy of the small clone under some conditions, and check its output and the files."""
    scratch = place / "scratch"
    (scratch / "a b").mkdir(parents=True)
    shutil.copytree(reproduced, place / "clone", symlinks=True, ignore=shutil.ignore_patterns("tmp"))
    environment = Environment(place / "clone", scratch)
    (environment.folder / "notes of mine.txt").write_text("mine\n")
    tracked = small.run(environment.folder, "git", "ls-files", "-z").rstrip("\0").split("\0")
    # In the order of CONDITIONS, in which those that move the project are last.
    for name in sorted(conditions, key=list(CONDITIONS).index):
        CONDITIONS[name](environment)
    before = user_files(environment.folder, tracked, command)
    recorded = outputs(entries(reproduced / LOCK))
    for path in recorded.get(STAGES.get(command, ""), {}):
        remove(environment.folder / path)
    python = f'PATH="{Path(sys.executable).parent}:$PATH"'
    done = subprocess.run(
        ["sh", "-c", "\n".join([*environment.limits, f"{python} timeout 300 {command}"])],
        cwd=environment.folder,
        env=small.environment(**{"PWD": str(environment.folder), **environment.variables}),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    printed = done.stdout + done.stderr
    report = f"{about}: status {done.returncode}\n{printed[-3000:]}"
    assert "Traceback (most recent call last)" not in printed, report
    if not done.returncode:
        assert OTHERS.get(command, 0) == 0, report
    else:
        assert done.returncode in (1, 2, 255) and re.search(r"^(error|ERROR|usage)\b", printed, re.MULTILINE), report
        assert OTHERS.get(command, 0) or MAY_FAIL & set(conditions), report
    lost = [name for name, content in before.items() if not unchanged(environment.folder / name, content)]
    assert not lost, f"{lost[:5]} {report}"
    if (
        not done.returncode
        and not OTHER_BYTES & set(conditions)
        and command != CLEANS
        and not command.startswith(CHANGES_PARAMS)
    ):
        wanted = (
            recorded[STAGES[command]]
            if command in STAGES
            else {p: md5 for outs in recorded.values() for p, md5 in outs.items()}
        )
        changed = [path for path, md5 in wanted.items() if file_md5(environment.folder / path) != md5]
        assert not changed, f"other bytes in {changed[:5]} {report}"


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def unchanged(path: Path, content: bytes) -> bool:
    """Whether a file exists and has this content."""
    return path.is_file() and path.read_bytes() == content
