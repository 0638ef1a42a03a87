"""AdamW with a faster start."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer


def _unwrapped(method: Any) -> Any:
    return method.__wrapped__


class AdamW(torch.optim.AdamW):
    """torch.optim.AdamW without the wrappers that exclude its methods from torch.compile.

    The wrappers import the compiler, which takes 3 s at the start of every training, although nothing is compiled. `step` is
    also wrapped for the option `differentiable`, which must stay off.
    """

    add_param_group = _unwrapped(Optimizer.add_param_group)
    load_state_dict = _unwrapped(Optimizer.load_state_dict)
    state_dict = _unwrapped(Optimizer.state_dict)
    zero_grad = _unwrapped(Optimizer.zero_grad)
    step = torch.no_grad()(_unwrapped(torch.optim.Adam.step))
