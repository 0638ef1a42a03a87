"""What every stage does around its work: check the params, fix what decides the bytes, turn mistakes into one line."""

from __future__ import annotations

import errno
import inspect
import os
import resource
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages import files
from stages import params as parameters
from stages.errors import UserError
from stages.params import Params

if TYPE_CHECKING:
    import torch

COSTS = Path("reports/costs")
"""Time and memory of each stage's last run, which neither DVC nor git tracks."""
REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
REFUSED |= {errno.EISDIR, errno.ENOTDIR}
"""What a system answers that has no room, or does not want to; a stage can't mend it and its user can."""
NO_MEMORY = ("can't allocate memory", "out of memory")
"""What torch says on a CPU and on a GPU."""


def run(work: Callable[..., None]) -> None:
    """Run a stage: `work(params)`, or `work(params, NAME)` with the command line's argument or the name of DVC's stage.

    Ends with status 1 and one line on a user's mistake, with 130 on an interrupt.
    """
    try:
        params = parameters.load()
        # Another number of BLAS or OpenMP threads splits the sums differently and gives other last digits.
        import threadpoolctl

        threadpoolctl.threadpool_limits(params.threads)
        started = time.perf_counter()
        wanted = [name for name in inspect.signature(work).parameters if name != "params"]
        given = sys.argv[1:] or _named_by_dvc()
        if len(given) != len(wanted):
            raise UserError(f"this stage takes {f'one argument, the {wanted[0]} of a method' if wanted else 'no argument'}")
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


def _too_much(error: Exception) -> str:
    return f"error: not enough memory for these params: {(str(error).splitlines() or ['no more is known'])[0][:200]}"


def _named_by_dvc() -> list[str]:
    """The method in the name of the stage that DVC runs, as in mog_train@dsm."""
    return os.environ.get("DVC_STAGE", "").split("@")[1:]


def cost_file(stage: str) -> Path:
    """Where the seconds and the memory of a stage's last run are."""
    return COSTS / f"{stage.replace('@', '.')}.json"


def _record_cost(seconds: float) -> None:
    """Note time and memory of a stage beside the outputs: they differ from run to run, so no output may hold them."""
    stage = os.environ.get("DVC_STAGE")
    # Of processes that train together it is the stage which started them that knows how long it all took.
    if stage and "WORLD_SIZE" not in os.environ:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        # The work is done, and no result hangs on what it cost.
        with suppress(UserError):
            files.write_json(cost_file(stage), {"seconds": round(seconds, 3), "memory_mb": round(memory)})


def root() -> Path:
    """The project's folder, also in the temporary copies in which `dvc exp run --temp` and `--queue` work."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def stream(params: Params, name: str) -> int:
    """The seed of the random stream `name`: streams of different names are independent, whatever `seed` is."""
    return int(np.random.SeedSequence([params.seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)[0])


def set_up_torch(params: Params) -> None:
    """Fix the threads and the algorithms of torch."""
    import torch
    import torch.utils.deterministic

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(params.threads)
    # What use_deterministic_algorithms(True) does, without loading a compiler that nothing here uses: seconds a stage.
    torch.set_deterministic_debug_mode("error")
    # With it torch would fill every tensor that it makes, in case that what nobody wrote is read: a twentieth of a training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it makes itself one


def device(params: Params) -> torch.device:
    """The device to compute on; `auto` takes the best one there is.

    Raises:
        UserError: this machine does not have the wanted one.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wish = params.device
    if wish == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[wish]:
        raise UserError(f"params.yaml: device: {wish!r} is not accepted: this machine has no {wish}")
    return torch.device(wish)
