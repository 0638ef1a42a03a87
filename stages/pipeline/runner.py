"""The runner of every stage: checks the params, makes arithmetic reproducible, reports errors in one line."""

from __future__ import annotations

import ctypes
import errno
import inspect
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from stages.config import params as parameters
from stages.config.base import MNIST_PREFIX
from stages.core import repository
from stages.core.errors import UserError
from stages.core.paths import cost_file
from stages.pipeline import files
from stages.pipeline.ancestors import end_with_runner

REPORTED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
REPORTED |= {errno.EISDIR, errno.ENOTDIR}
"""Codes of system errors that the user can fix, such as a full disk; they are reported without a traceback."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Options of `mallopt`, from malloc.h of glibc."""
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")
"""Parts of torch's error messages, on a CPU and on a GPU."""


def run(work: Callable[..., None], *, threads: int | None = None) -> None:
    """Run a stage: call `work(params)`, or `work(params, NAME)` with the command line's argument.

    Exits with status 1 and one line on a user error, with 130 on an interrupt.

    Args:
        work: the function of the stage.
        threads: CPU threads of linear algebra; `threads` of params.yaml if None.
    """
    try:
        end_with_runner()
        repository.check_experiment()
        params = parameters.load()
        fix_arithmetic(threads or params.threads)
        keep_memory()
        started = time.perf_counter()
        wanted = list(inspect.signature(work).parameters)[1:]
        given = sys.argv[1:]
        if len(given) != len(wanted):
            raise UserError(f"this stage takes {f'one argument, the {wanted[0]} of a method' if wanted else 'no argument'}")
        if given:
            _check_name(params, *given)
        work(params, *given)
        _record_cost(time.perf_counter() - started)
    except UserError as error:
        sys.exit(f"error: {error}")
    except MemoryError as error:
        sys.exit(_out_of_memory(error))
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):
            raise
        sys.exit(_out_of_memory(error))
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: `dvc repro` makes the inputs of a stage")
    except OSError as error:
        if error.errno not in REPORTED:
            raise
        sys.exit(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _check_name(params: parameters.Params, name: str) -> None:
    """Raise UserError if the name is not a method of this stage's domain."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    images = spec is not None and spec.name.startswith("stages.mnist.")
    known = [block.removeprefix(MNIST_PREFIX) for block in params.blocks if block.startswith(MNIST_PREFIX) == images]
    if name not in known:
        raise UserError(f"{name!r} is not a method of this stage: expected one of {', '.join(known)}")


def fix_arithmetic(threads: int) -> None:
    """Fix the number of BLAS threads: another number changes the order of summation and thus the last digits."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)


def keep_memory() -> None:
    """Keep freed memory in this process, if the C library is glibc.

    By default glibc returns every large array to the system. Mapping and clearing the pages of the next array then takes longer
    than most computations on it: a third of the time of an evaluation.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _out_of_memory(error: Exception) -> str:
    """The message for a MemoryError or torch's equivalent."""
    return f"error: not enough memory for these params: {(str(error).splitlines() or ['no details'])[0][:200]}"


def _record_cost(seconds: float) -> None:
    """Write the time and memory of a stage to its cost file; they vary between runs, so they are not part of an output."""
    stage = os.environ.get("DVC_STAGE")
    # In distributed training only the launching process records the cost; its workers have WORLD_SIZE set.
    if stage and "WORLD_SIZE" not in os.environ:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        # The stage has succeeded; a failure to record its cost must not fail it.
        with suppress(UserError):
            cost = {"seconds": round(seconds, 3), "cpu_seconds": round(_cpu_seconds(), 3), "memory_mb": round(memory)}
            files.write_json(cost_file(stage), cost)


def _cpu_seconds() -> float:
    """CPU time of this process and its terminated children, user and system."""
    used = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)
