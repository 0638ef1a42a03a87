"""`make setup`: make .venv and install the pinned packages; an environment that cannot be used is made anew.

    python stages/tools/environment.py VENV REQUIREMENTS... [--mend] [--torch-index URL] [--of-this-python]

It runs before there is an environment, by whatever Python is there: as a file, with the standard library, in the syntax of
Python 3.6. --torch-index takes torch and torchvision from another index, such as that of the builds for the CPU, and leaves out
the libraries of the builds for CUDA, which take five gigabytes; the environment remembers it. An environment that cannot be
used, or with --of-this-python one of another release, is made anew with --mend and refused without. Without VENV it only says
by its status whether the Python that runs it can be used.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec

OLDEST, NEWEST = (3, 11), (3, 13)
"""The releases of Python for which all pinned packages are built."""
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
"""How the names of the packages begin that only torch's builds for CUDA need."""
TORCH = re.compile(r"torch(vision)?==")
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
BIN = "Scripts" if os.name == "nt" else "bin"
FIRST = (
    f"import os, sys; os.environ['PATH'] = os.path.join(sys.prefix, '{BIN}') + os.pathsep + os.environ.get('PATH', os.defpath)"
)
"""What every Python of the environment does first: DVC runs stages by `python`, which has to be this one, activated or not."""
NOT_INSTALLED = "the packages could not be installed"
INDEX = ".torch-index"
"""The file in an environment with the index that its torch comes from."""


def main() -> None:
    """Make the environment, or mend it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("venv", nargs="?")
    parser.add_argument("requirements", nargs="*")
    parser.add_argument("--mend", action="store_true")
    parser.add_argument("--torch-index")
    parser.add_argument("--of-this-python", action="store_true")
    given = parser.parse_args()
    if not given.venv:
        sys.exit(not (OLDEST <= sys.version_info[:2] <= NEWEST and find_spec("pip")))
    try:
        prepare(given)
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd[:3]))} failed")
    except OSError as error:
        sys.exit(f"error: {error.filename or given.venv}: {error.strerror or error}")


def prepare(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    python = os.path.join(given.venv, BIN, "python")
    aside = None
    if os.path.lexists(given.venv) and unfit(given.venv, python, given):
        aside = os.path.join(tempfile.mkdtemp(prefix=".venv.", dir=os.path.dirname(given.venv) or "."), "old")
        os.rename(given.venv, aside)
    made = not os.path.lexists(given.venv)
    try:
        if made:
            check_version()
            run(
                [base_python(), "-m", "venv", given.venv],
                "this Python can make no environment: on Debian, python3-venv is missing",
            )
        own_programs_first(python)
        install(python, given)
    except BaseException:
        # What was there may still be of use to somebody.
        if made and aside:
            shutil.rmtree(given.venv, ignore_errors=True)
            os.rename(aside, given.venv)
            os.rmdir(os.path.dirname(aside))
        raise
    if aside:
        shutil.rmtree(os.path.dirname(aside), ignore_errors=True)


def base_python() -> str:
    """The Python that runs this, or the one that its environment was made with: an environment cannot make itself anew."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def install(python: str, given: argparse.Namespace) -> None:
    """Install the packages, torch from the index that is asked for or that the environment remembers."""
    index = given.torch_index or remembered_index(given.venv)
    if index:
        with open(os.path.join(given.venv, INDEX), "w", encoding="utf-8") as file:
            file.write(index)
        install_without_cuda(python, given.requirements, index)
        return
    for requirements in given.requirements:
        run([python, *PIP, "-r", requirements], NOT_INSTALLED)


def check_version() -> None:
    """End with one line where no environment of this Python would do."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        what = f"is Python {dotted(version)}, which is too {'old' if version < OLDEST else 'new'}"
        wanted = f"{dotted(OLDEST)} to {dotted(NEWEST)} will do"
        sys.exit(f"error: {sys.executable} {what}: {wanted}, such as `make setup PYTHON=python{dotted(NEWEST)}`")


def dotted(version: "tuple[int, ...]") -> str:
    """A release as it is written."""
    return ".".join(map(str, version))


def remembered_index(venv: str) -> str:
    """The index that torch came from, where it was not the usual one."""
    try:
        with open(os.path.join(venv, INDEX), encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def unfit(venv: str, python: str, given: argparse.Namespace) -> bool:
    """Whether an environment cannot be used and may be made anew; ends with one line if it may not."""
    ask = [python, "-c", "import sys, pip; print(*sys.version_info[:2])"]
    try:
        said = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        version: tuple[int, ...] = tuple(map(int, said.split()))
    except (OSError, ValueError, subprocess.CalledProcessError):
        version = ()
    moved = given.torch_index and given.torch_index != remembered_index(venv)
    if version and (version == sys.version_info[:2] if given.of_this_python else OLDEST <= version <= NEWEST) and not moved:
        return False
    why = "is broken" if not version else "has torch from elsewhere" if moved else "is of Python " + dotted(version)
    if os.path.islink(venv) or not os.path.isfile(os.path.join(venv, "pyvenv.cfg")):
        sys.exit(f"error: {venv} {why}, and was not made by `make setup`: move it away")
    if not given.mend:
        sys.exit(f"error: {venv} {why}: `make setup` makes it anew")
    check_version()
    print(f"{venv} {why}: it is made anew", flush=True)
    return True


def own_programs_first(python: str) -> None:
    """Have every Python of the environment, and so its dvc, find the environment's own programs before any others."""
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    with open(os.path.join(packages, "own_programs_first.pth"), "w", encoding="utf-8") as file:
        file.write(f"{FIRST}\n")


def install_without_cuda(python: str, requirements: "list[str]", index: str) -> None:
    """Install torch's packages from an index and all others but those that only CUDA needs as they are pinned."""
    for path in requirements:
        with open(path, encoding="utf-8") as file:
            entries = re.split(r"(?m)^(?=[a-z0-9])", file.read())
        torch = [entry.split()[0] for entry in entries if TORCH.match(entry)]
        run([python, *PIP, "--index-url", index, *torch], f"torch could not be installed from {index}")
        with tempfile.TemporaryDirectory() as folder:
            others = os.path.join(folder, "requirements.txt")
            with open(others, "w", encoding="utf-8") as file:
                file.write("".join(entry for entry in entries if not TORCH.match(entry) and not CUDA.match(entry)))
            # torch's own needs are among them, with hashes; of what it wants for CUDA pip would say that it is missing.
            run([python, *PIP, "--no-deps", "-r", others], NOT_INSTALLED)


def run(command: "list[str]", otherwise: str) -> None:
    """Run a command; where it fails, end with one line."""
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"error: {otherwise}")


if __name__ == "__main__":
    main()
