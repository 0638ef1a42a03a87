"""The stages of the pipeline and the packages that they use."""

import os
import sys
from types import TracebackType

ACTIVATE = "activate the project's environment with `. .venv/bin/activate`, or create it with `make setup`"
"""Advice in error messages if a command runs in a Python other than the project's."""

if sys.argv[:1] == ["-m"] and sys.version_info < (3, 11):
    sys.exit(f"error: {sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}, which is too old: {ACTIVATE}")

# Spins of a waiting OpenMP thread before it sleeps. By default it spins for milliseconds, and with another busy process on the
# machine a training takes ten times as long. OpenMP reads this when torch loads it, so it has to be set before.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# These can give a training fewer threads than it requests. It then deadlocks, since one thread waits for a missing one.
os.environ.pop("OMP_THREAD_LIMIT", None)
os.environ.pop("OMP_DYNAMIC", None)
os.environ.pop("OMP_MAX_ACTIVE_LEVELS", None)


def end_in_one_line(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Except hook: report an interrupt or a missing package in one line, even while modules are still being imported."""
    if issubclass(kind, KeyboardInterrupt):
        # After an uncaught KeyboardInterrupt, Python kills itself by SIGINT instead of exiting with a status.
        sys.stdout.flush()
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("stages"):
        importer = f"which {_importer(traceback)} imports"
        print(f"error: {sys.executable} has no package {error.name}, {importer}: {ACTIVATE}", file=sys.stderr, flush=True)
        return
    sys.__excepthook__(kind, error, traceback)


def _importer(traceback: TracebackType | None) -> str:
    """File and line of the failed import, without Python's own `<frozen ...>` frames."""
    place = ""
    while traceback:
        file = traceback.tb_frame.f_code.co_filename
        place = place if file.startswith("<") else f"{os.path.relpath(file)}, line {traceback.tb_lineno},"
        traceback = traceback.tb_next
    return place


# Under `python -m stages.mog.train`, argv[0] is `-m` while Python imports the package. In a notebook it is not.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = end_in_one_line
    # Matplotlib refuses an unknown backend when it is imported. The figures have a canvas of their own.
    os.environ.pop("MPLBACKEND", None)
