"""The stages of the pipeline and what they are made of."""

import os
import sys
from types import TracebackType

# How often a waiting OpenMP thread looks before it sleeps. By default it spins for milliseconds, and with another busy
# process on the machine a training takes ten times as long. Read when torch loads its library, so it is set before.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# With fewer threads than it asked for, a training on two threads waits for the other one for ever.
os.environ.pop("OMP_THREAD_LIMIT", None)
os.environ.pop("OMP_DYNAMIC", None)


def end_interrupted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """End as an interrupted stage ends, also while it is still importing what it needs."""
    if issubclass(kind, KeyboardInterrupt):
        # An exit from here would be one by the signal, which is no status of its own.
        sys.stdout.flush()
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)
    sys.__excepthook__(kind, error, traceback)


# So Python calls a program that it is about to look for, as in `python -m stages.mog.train`: to a notebook nothing is done.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = end_interrupted
