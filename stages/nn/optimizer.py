"""torch's optimizer, started faster."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer


def _plain(method: Any) -> Any:
    return method.__wrapped__


class AdamW(torch.optim.AdamW):
    """torch.optim.AdamW as it is, without what has torch.compile leave it alone.

    The methods below are wrapped for that, and the wrappers load the compiler: 3 s at the start of every training, where
    nothing is compiled. `differentiable`, for which `step` is wrapped, too, stays off.
    """

    add_param_group = _plain(Optimizer.add_param_group)
    load_state_dict = _plain(Optimizer.load_state_dict)
    state_dict = _plain(Optimizer.state_dict)
    zero_grad = _plain(Optimizer.zero_grad)
    step = torch.no_grad()(_plain(torch.optim.Adam.step))
