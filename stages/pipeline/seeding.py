"""Random streams by name, and what makes torch repeat itself."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Protocol

import numpy as np

from stages.core.errors import UserError

if TYPE_CHECKING:
    import torch


class HasSeed(Protocol):
    """Params, or another record with a `seed`."""

    @property
    def seed(self) -> int:
        """Base of the random streams."""
        ...


class HasDevice(Protocol):
    """Params, or another record with a `device`."""

    @property
    def device(self) -> str:
        """The name of the device, or auto."""
        ...


def stream(params: HasSeed, name: str) -> int:
    """The seed of the random stream `name`: streams of different names are independent, whatever `seed` is."""
    return int(np.random.SeedSequence([params.seed, zlib.crc32(name.encode())]).generate_state(1, np.uint32)[0])


def set_up_torch(threads: int) -> None:
    """Fix the number of CPU threads and the algorithms of torch."""
    import torch
    import torch.utils.deterministic

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # What use_deterministic_algorithms(True) does, without loading a compiler that nothing here uses: seconds a stage.
    torch.set_deterministic_debug_mode("error")
    # With it torch would fill every tensor that it makes, in case that what nobody wrote is read: a twentieth of a training.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it makes itself one


def device(params: HasDevice) -> torch.device:
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
