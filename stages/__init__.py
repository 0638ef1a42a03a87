"""The stages of the pipeline and what they are made of."""

import os
import sys
from types import TracebackType

ACTIVATE = "activate the project's environment with `. .venv/bin/activate`, or make it with `make setup`"
"""What to do where a command is run by another Python."""

if sys.argv[:1] == ["-m"] and sys.version_info < (3, 11):
    sys.exit(f"error: {sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}, which is too old: {ACTIVATE}")

# How often a waiting OpenMP thread looks before it sleeps. By default it spins for milliseconds, and with another busy
# process on the machine a training takes ten times as long. Read when torch loads its library, so it is set before.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# With fewer threads than it asked for, a training on two threads waits for the other one for ever.
os.environ.pop("OMP_THREAD_LIMIT", None)
os.environ.pop("OMP_DYNAMIC", None)
os.environ.pop("OMP_MAX_ACTIVE_LEVELS", None)


def end_in_one_line(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """End a command on an interrupt, and in a Python that lacks the packages, also while it is still importing."""
    if issubclass(kind, KeyboardInterrupt):
        # An exit from here would be one by the signal, which is no status of its own.
        sys.stdout.flush()
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("stages"):
        who = f"which {_importer(traceback)} imports"
        print(f"error: {sys.executable} has no package {error.name}, {who}: {ACTIVATE}", file=sys.stderr, flush=True)
        return
    sys.__excepthook__(kind, error, traceback)


def _importer(traceback: TracebackType | None) -> str:
    """The file and line of the import that failed, with `<frozen ...>` frames of Python's own left out."""
    place = ""
    while traceback:
        file = traceback.tb_frame.f_code.co_filename
        place = place if file.startswith("<") else f"{os.path.relpath(file)}, line {traceback.tb_lineno},"
        traceback = traceback.tb_next
    return place


# So Python calls a program that it is about to look for, as in `python -m stages.mog.train`: to a notebook nothing is done.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = end_in_one_line
