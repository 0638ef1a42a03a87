"""The gradient of an energy with respect to its points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient(function: Callable[[Tensor], Tensor], x: Tensor, *, copies: int, create_graph: bool) -> Tensor:
    """∇ f(x) of a function that maps each point separately.

    Args:
        function: f, from points (S, B, d) to values (S, B).
        x: points (S, B, d), or (B, d) for all copies.
        copies: S.
        create_graph: whether the gradient can be differentiated in turn, as a loss of the gradient requires.

    Returns:
        (S, B, d).
    """
    with torch.enable_grad():
        x = x.expand(copies, *x.shape[-2:]).detach().requires_grad_()
        (result,) = torch.autograd.grad(function(x).sum(), x, create_graph=create_graph)
    return result
