"""What every stage does around its work: check the params, fix what decides the bytes, turn mistakes into one line."""

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
from stages.core.errors import UserError, watch_interrupts
from stages.core.paths import cost_file
from stages.pipeline import files
from stages.pipeline.ancestors import end_with_runner

REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
REFUSED |= {errno.EISDIR, errno.ENOTDIR}
"""What a system answers that has no room, or does not want to; a stage can't mend it and its user can."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Settings of glibc's malloc, from its malloc.h."""
NO_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says on a CPU and on a GPU."""


def run(work: Callable[..., None], *, threads: int | None = None) -> None:
    """Run a stage: `work(params)`, or `work(params, NAME)` with the argument of the command line.

    Ends with status 1 and one line on a user's mistake, with 130 on an interrupt.

    Args:
        work: the stage.
        threads: CPU threads of its linear algebra; `threads` of params.yaml where None.
    """
    watch_interrupts()
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
        sys.exit(_too_much(error))
    except RuntimeError as error:
        if not any(words in str(error) for words in NO_MEMORY):
            raise
        sys.exit(_too_much(error))
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: `dvc repro` makes what a stage reads")
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        sys.exit(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _check_name(params: parameters.Params, name: str) -> None:
    """Refuse what is no method of the domain whose stage this is."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    images = spec is not None and spec.name.startswith("stages.mnist.")
    known = [block.removeprefix(MNIST_PREFIX) for block in params.blocks if block.startswith(MNIST_PREFIX) == images]
    if name not in known:
        raise UserError(f"{name!r} is no method of params.yaml here: expected one of {', '.join(known)}")


def fix_arithmetic(threads: int) -> None:
    """Have the libraries of linear algebra use so many threads: with others they sum in another order, to other last digits."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)


def keep_memory() -> None:
    """Have freed memory stay with this process, where the C library is glibc.

    By itself it gives every large array back to the system, and the pages of the next one take longer to come, cleared, than
    most computations on them: a third of the time of an evaluation.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _too_much(error: Exception) -> str:
    return f"error: not enough memory for these params: {(str(error).splitlines() or ['no more is known'])[0][:200]}"


def _record_cost(seconds: float) -> None:
    """Note time and memory of a stage beside the outputs: they differ from run to run, so no output may hold them."""
    stage = os.environ.get("DVC_STAGE")
    # Of processes that train together it is the stage which started them that knows how long it all took.
    if stage and "WORLD_SIZE" not in os.environ:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        # The work is done, and no result hangs on what it cost.
        with suppress(UserError):
            cost = {"seconds": round(seconds, 3), "cpu_seconds": round(_cpu_seconds(), 3), "memory_mb": round(memory)}
            files.write_json(cost_file(stage), cost)


def _cpu_seconds() -> float:
    """What this process and those that it started have had of a processor so far, their starts included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)
