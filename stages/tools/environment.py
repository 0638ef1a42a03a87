"""`make setup`: create .venv and install the pinned packages; an unusable environment is rebuilt.

    python stages/tools/environment.py VENV REQUIREMENTS... [--mend] [--torch-index URL] [--of-this-python]

It runs before an environment exists, in any Python: as a script, with the standard library, in the syntax of Python 3.6.
--torch-index installs torch and torchvision from another index, such as that of the CPU builds, and omits the CUDA libraries,
which take five gigabytes; the environment records the index. An environment is unusable if it is broken, if its Python is not
supported (with --of-this-python: is another release than this one), or if its torch is from another index than requested. It is
rebuilt with --mend and refused without. Without VENV, the exit status says whether the running Python is supported.
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
"""The releases of Python for which all pinned packages have builds."""
CUDA = re.compile(r"(nvidia|cuda|triton)\b")
"""The start of the names of packages that only torch's CUDA builds need."""
TORCH = re.compile(r"torch(vision)?==")
"""The pins of the packages that come from the index of torch."""
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
BIN = "Scripts" if os.name == "nt" else "bin"
"""The folder of an environment's programs."""
PREPEND_PATH = (
    f"import os, sys; os.environ['PATH'] = os.path.join(sys.prefix, '{BIN}') + os.pathsep + os.environ.get('PATH', os.defpath)"
)
"""Code that every Python of the environment runs at start: DVC calls `python`, which must be this one, activated or not."""
NOT_INSTALLED = "the packages could not be installed"
INDEX = ".torch-index"
"""The file of an environment that records the index of its torch."""


def main() -> None:
    """Create or rebuild the environment; without VENV, check the running Python."""
    parser = argparse.ArgumentParser()
    parser.add_argument("venv", nargs="?")
    parser.add_argument("requirements", nargs="*")
    parser.add_argument("--mend", action="store_true")
    parser.add_argument("--torch-index")
    parser.add_argument("--of-this-python", action="store_true")
    options = parser.parse_args()
    if not options.venv:
        sys.exit(not (OLDEST <= sys.version_info[:2] <= NEWEST and find_spec("pip")))
    try:
        prepare(options)
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd[:3]))} failed")
    except OSError as error:
        sys.exit(f"error: {error.filename or options.venv}: {error.strerror or error}")


def prepare(options: argparse.Namespace) -> None:
    """Create or rebuild the environment and install the packages; if that fails, restore the previous environment."""
    python = os.path.join(options.venv, BIN, "python")
    previous = None
    if os.path.lexists(options.venv) and unusable(options.venv, python, options):
        previous = os.path.join(tempfile.mkdtemp(prefix=".venv.", dir=os.path.dirname(options.venv) or "."), "old")
        os.rename(options.venv, previous)
    created = not os.path.lexists(options.venv)
    try:
        if created:
            check_version()
            run(
                [base_python(), "-m", "venv", options.venv],
                "this Python cannot create an environment: on Debian, install python3-venv",
            )
        own_programs_first(python)
        install(python, options)
        compile_packages(python)
    except BaseException:
        if created and previous:
            shutil.rmtree(options.venv, ignore_errors=True)
            os.rename(previous, options.venv)
            os.rmdir(os.path.dirname(previous))
        raise
    if previous:
        shutil.rmtree(os.path.dirname(previous), ignore_errors=True)


def base_python() -> str:
    """The running Python, or, in an environment, the one that created it: an environment cannot rebuild itself."""
    return str(getattr(sys, "_base_executable", "") or sys.executable)


def install(python: str, options: argparse.Namespace) -> None:
    """Install the packages, torch from the requested or the recorded index if there is one."""
    index = options.torch_index or recorded_index(options.venv)
    if index:
        with open(os.path.join(options.venv, INDEX), "w", encoding="utf-8") as file:
            file.write(index)
        install_without_cuda(python, options.requirements, index)
        return
    for requirements in options.requirements:
        run([python, *PIP, "-r", requirements], NOT_INSTALLED)


def check_version() -> None:
    """Exit with an error if the running Python is not supported."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        problem = f"is Python {dotted(version)}, which is too {'old' if version < OLDEST else 'new'}"
        remedy = f"use {dotted(OLDEST)} to {dotted(NEWEST)}, as in `make setup PYTHON=python{dotted(NEWEST)}`"
        sys.exit(f"error: {sys.executable} {problem}: {remedy}")


def dotted(version: "tuple[int, ...]") -> str:
    """A version as text, such as 3.11."""
    return ".".join(map(str, version))


def recorded_index(venv: str) -> str:
    """The index that torch was installed from; empty for the default one."""
    try:
        with open(os.path.join(venv, INDEX), encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def unusable(venv: str, python: str, options: argparse.Namespace) -> bool:
    """Whether an existing environment must be rebuilt.

    Raises:
        SystemExit: it must, but `make setup` did not create it, or --mend is not given, or this Python is not supported.
    """
    command = [python, "-c", "import sys, pip; print(*sys.version_info[:2])"]
    try:
        printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        version: tuple[int, ...] = tuple(map(int, printed.split()))
    except (OSError, ValueError, subprocess.CalledProcessError):
        version = ()
    other_index = options.torch_index and options.torch_index != recorded_index(venv)
    supported = version == sys.version_info[:2] if options.of_this_python else OLDEST <= version <= NEWEST
    if version and supported and not other_index:
        return False
    problem = "is broken" if not version else "has torch from another index" if other_index else "has Python " + dotted(version)
    if os.path.islink(venv) or not os.path.isfile(os.path.join(venv, "pyvenv.cfg")):
        sys.exit(f"error: {venv} {problem} and was not created by `make setup`: move it away")
    if not options.mend:
        sys.exit(f"error: {venv} {problem}: `make setup` rebuilds it")
    check_version()
    print(f"{venv} {problem}: it is rebuilt", flush=True)
    return True


def packages(python: str) -> str:
    """The folder of the environment's packages."""
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def compile_packages(python: str) -> None:
    """Compile the installed packages on all cores, which pip does on one of them; some are templates that do not compile."""
    subprocess.run([python, "-m", "compileall", "-qq", "-j", "0", packages(python)], check=False)


def own_programs_first(python: str) -> None:
    """Make every Python of the environment, and so its dvc, put the environment's programs first on PATH."""
    with open(os.path.join(packages(python), "own_programs_first.pth"), "w", encoding="utf-8") as file:
        file.write(f"{PREPEND_PATH}\n")


def install_without_cuda(python: str, requirements: "list[str]", index: str) -> None:
    """Install torch and torchvision from an index, then the other pinned packages except those that only CUDA needs."""
    for path in requirements:
        with open(path, encoding="utf-8") as file:
            entries = re.split(r"(?m)^(?=[a-z0-9])", file.read())
        torch = [entry.split()[0] for entry in entries if TORCH.match(entry)]
        run([python, *PIP, "--index-url", index, *torch], f"torch could not be installed from {index}")
        with tempfile.TemporaryDirectory() as folder:
            others = os.path.join(folder, "requirements.txt")
            with open(others, "w", encoding="utf-8") as file:
                file.write("".join(entry for entry in entries if not TORCH.match(entry) and not CUDA.match(entry)))
            # This list has torch's other dependencies; pip would report the CUDA libraries as missing.
            run([python, *PIP, "--no-deps", "-r", others], NOT_INSTALLED)


def run(command: "list[str]", error: str) -> None:
    """Run a command; exit with an error message if it fails."""
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
