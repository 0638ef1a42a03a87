"""Named random streams and deterministic torch."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stages.core.errors import UserError

if TYPE_CHECKING:
    import torch


class HasSeed(Protocol):
    """An object with a `seed`, such as the params."""

    @property
    def seed(self) -> int:
        """Base seed of all random streams."""
        ...


class HasDevice(Protocol):
    """An object with a `device`, such as the params."""

    @property
    def device(self) -> str:
        """The name of a torch device, or `auto`."""
        ...


def stream(params: HasSeed, name: str) -> int:
    """The seed of the random stream `name`, derived from `seed`; streams of different names are independent."""
    return int(np.random.SeedSequence([params.seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)[0])


def set_up_torch(threads: int) -> None:
    """Fix the number of CPU threads and make torch use deterministic algorithms."""
    import torch
    import torch.utils.deterministic

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # Has the effect of use_deterministic_algorithms(True) but does not load the compiler: saves seconds per stage.
    torch.set_deterministic_debug_mode("error")
    # By default deterministic torch fills all uninitialised memory, which takes 5 % of a training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module


def device(params: HasDevice) -> torch.device:
    """The device to compute on; `auto` takes the first available of cuda, mps and cpu.

    Raises:
        UserError: this machine does not have the requested device.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    requested = params.device
    if requested == "auto":
        return torch.device(next(name for name, there in available.items() if there))
    if not available[requested]:
        raise UserError(f"params.yaml: device: {requested!r} is not accepted: this machine has no {requested}")
    return torch.device(requested)
