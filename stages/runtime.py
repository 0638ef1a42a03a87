"""What every stage does around its work: check the params, fix what decides the bytes, turn mistakes into one line."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import resource
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages import params as parameters
from stages.errors import UserError
from stages.params import Params

if TYPE_CHECKING:
    import torch

COSTS = Path("reports/costs")
"""Time and memory of each stage's last run, which neither DVC nor git tracks."""


def run(work: Callable[..., None]) -> None:
    """Run a stage: `work(params)`, or `work(params, NAME)` with the command line's arguments.

    Ends with status 1 and one line on a user's mistake, with 130 on an interrupt.
    """
    try:
        params = parameters.load()
        # Another number of BLAS or OpenMP threads splits the sums differently and gives other last digits.
        import threadpoolctl

        threadpoolctl.threadpool_limits(params.threads)
        started = time.perf_counter()
        wanted = [name for name in inspect.signature(work).parameters if name != "params"]
        if len(sys.argv) - 1 != len(wanted):
            raise UserError(f"this stage takes {f'one argument, the {wanted[0]} of a method' if wanted else 'no argument'}")
        work(params, *sys.argv[1:])
        _record_cost(time.perf_counter() - started)
    except UserError as error:
        sys.exit(f"error: {error}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing: `dvc repro` makes what a stage reads")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _record_cost(seconds: float) -> None:
    """Note time and memory of a stage beside the outputs: they differ from run to run, so no output may hold them."""
    stage = os.environ.get("DVC_STAGE")
    if stage:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        write_json(COSTS / f"{stage.replace('@', '.')}.json", {"seconds": round(seconds, 3), "memory_mb": round(memory)})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, the same bytes for the same content; NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file.

    Raises:
        UserError: there is none.
    """
    if not path.exists():
        raise UserError(
            f"{path} is missing: `dvc repro` makes what the pipeline makes, `make studies` what lies in reports/studies"
        )
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_text(path: Path, content: str) -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file without pickles and without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **dict(arrays))


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz file without pickles."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def write_curves(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write learning curves as CSV with one row per logged step."""
    lines = [",".join(rows[0])]
    lines += [",".join(str(value) if isinstance(value, int) else f"{value:.6g}" for value in row.values()) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def write_digests(path: Path, folder: Path) -> None:
    """Write the sha256 of every file in a folder of pictures: what stands for them in git, where animations are not."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != ".gitignore")
    write_json(path, {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})


def root() -> Path:
    """The project's folder, also in the temporary copies in which `dvc exp run --temp` and `--queue` work."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def stream(params: Params, name: str) -> int:
    """The seed of the random stream `name`: streams of different names are independent, whatever `seed` is."""
    return int(np.random.SeedSequence([params.seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)[0])


def set_up_torch(params: Params) -> None:
    """Fix the threads and the algorithms of torch."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(params.threads)
    # What use_deterministic_algorithms(True) does, without loading a compiler that nothing here uses: seconds a stage.
    torch.set_deterministic_debug_mode("error")


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
