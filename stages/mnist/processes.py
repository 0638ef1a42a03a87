"""The processes that share one training on the images: `processes` in params.yaml, started by torchrun.

A stage with more than one process starts torchrun on itself, on this machine. To spread a training over machines, start
torchrun on each of them, on a folder that all share:

    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT -m stages.mnist.train jepa_ema
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from stages import runtime
from stages.errors import UserError
from stages.params import Params


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
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={params.processes}", "-m", module, name]
    if subprocess.run([sys.executable, "-m", *torchrun], check=False).returncode:
        raise UserError(f"{name}: one of the {params.processes} processes failed, and said why above")
    return True


@contextmanager
def place(params: Params) -> Iterator[Place]:
    """This process's place among those that train together.

    Raises:
        UserError: torchrun started another number of processes than the params say.
    """
    device = runtime.device(params)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count != params.processes:
        raise UserError(f"params.yaml: processes: {params.processes} is not accepted: torchrun started {count}")
    if count == 1:
        yield Place(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Place(dist.get_rank(), count, device)
        # No process leaves while another one still needs it.
        dist.barrier()
    finally:
        dist.destroy_process_group()
