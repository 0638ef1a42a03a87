"""The processes that share a training on images: `processes` in params.yaml, started by torchrun.

A stage with more than one process starts torchrun on this machine. To train on several machines, start torchrun on each of
them, in a shared folder:

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT -m stages.mnist.train jepa_ema
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch
import torch.distributed as dist

from stages.config.params import Params
from stages.core.errors import UserError
from stages.pipeline import seeding

STARTED_BY = "ENERGY_WELLS_STARTED_BY"
"""Environment variable with the id of the stage's process, which started torchrun."""


@dataclass(frozen=True)
class Worker:
    """This process: its rank, the number of processes that share the training, and its device."""

    rank: int
    count: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process, rank 0, writes the files and the progress."""
        return self.rank == 0

    @property
    def shared(self) -> bool:
        """Whether several processes share the training."""
        return self.count > 1


def start(params: Params, module: str, name: str) -> bool:
    """Run the stage `module` for the method `name` in several processes, if the params ask for them.

    Returns:
        False if this process has to train: it is the only one, or torchrun started it.

    Raises:
        UserError: one of the processes failed; it has printed its error.
    """
    if params.processes == 1 or "WORLD_SIZE" in os.environ:
        return False
    # If this stage is killed, torchrun survives it. Its processes watch this one, so that they stop writing.
    environment = {**os.environ, STARTED_BY: str(os.getpid())}
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={params.processes}", "-m", module, name]
    if subprocess.run([sys.executable, "-m", *torchrun], env=environment, check=False).returncode:
        raise UserError(f"{name}: one of the {params.processes} processes failed; its error is printed above")
    return True


@contextmanager
def join_workers(params: Params) -> Iterator[Worker]:
    """Join the process group of the training; leave it at the end of the context.

    Raises:
        UserError: the number of processes that torchrun started differs from the params or exceeds this machine's GPUs.
    """
    device = seeding.device(params)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count != params.processes:
        raise UserError(f"params.yaml: processes: {params.processes} is not accepted: torchrun started {count}")
    if count == 1:
        yield Worker(0, 1, device)
        return
    _exit_with(os.getppid(), *(int(pid) for pid in [os.environ.get(STARTED_BY)] if pid))
    if device.type == "cuda":
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            # NCCL does not support two processes on one GPU.
            raise UserError(
                f"params.yaml: processes: {count} is not accepted: expected at most {gpus} on this machine, one per GPU"
            )
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Worker(dist.get_rank(), count, device)
        # No process may leave while another still communicates with it.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _exit_with(*others: int) -> None:
    """Exit as soon as one of the processes with the ids `others` has ended, even if it was killed."""

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            watched = [psutil.Process(pid) for pid in others]
            # `is_running` is false if the system has reused the id for another process.
            while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in watched):
                time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
