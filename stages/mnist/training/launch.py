"""The processes that share one training on the images: `processes` in params.yaml, started by torchrun.

A stage with more than one process starts torchrun on itself, on this machine. To spread a training over machines, start
torchrun on each of them, on a folder that all share:

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
"""Environment variable with the process of the stage that started torchrun."""


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, and what it computes on."""

    rank: int
    count: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes files and lines."""
        return self.rank == 0

    @property
    def shared(self) -> bool:
        """Whether there are others."""
        return self.count > 1


def start(params: Params, module: str, name: str) -> bool:
    """Run the stage `module` for the method `name` in as many processes as the params say; False where that is this one.

    Raises:
        UserError: one of the processes failed; it has said why.
    """
    if params.processes == 1 or "WORLD_SIZE" in os.environ:
        return False
    # torchrun would outlive a stage that is killed, and its processes would go on writing: they look for this one.
    environment = {**os.environ, STARTED_BY: str(os.getpid())}
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={params.processes}", "-m", module, name]
    if subprocess.run([sys.executable, "-m", *torchrun], env=environment, check=False).returncode:
        raise UserError(f"{name}: one of the {params.processes} processes failed, and said why above")
    return True


@contextmanager
def place(params: Params) -> Iterator[Place]:
    """This process's place among those that train together.

    Raises:
        UserError: torchrun started another number of processes than the params say, or more than this machine has GPUs.
    """
    device = seeding.device(params)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count != params.processes:
        raise UserError(f"params.yaml: processes: {params.processes} is not accepted: torchrun started {count}")
    if count == 1:
        yield Place(0, 1, device)
        return
    _end_with(os.getppid(), *(int(pid) for pid in [os.environ.get(STARTED_BY)] if pid))
    if device.type == "cuda":
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            # NCCL does not serve two processes on one GPU.
            raise UserError(f"params.yaml: processes: {count} is not accepted: {here} of them on a machine with {gpus} GPUs")
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Place(dist.get_rank(), count, device)
        # No process leaves while another one still needs it.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _end_with(*others: int) -> None:
    """End this process as soon as one of `others` has ended, which may have been killed without a chance to say so."""

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            watched = [psutil.Process(pid) for pid in others]
            # A number that another process has taken over since does not count as running.
            while all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in watched):
                time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
