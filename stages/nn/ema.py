"""The EMA target: an exponential moving average of a network's parameters."""

from __future__ import annotations

import copy

import torch
from torch import nn


def frozen_copy(network: nn.Module) -> nn.Module:
    """A copy of `network` without gradients."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, decay: float) -> None:
    """θ' ← decay · θ' + (1 − decay) · θ for all parameters; the networks have the same architecture, and 0 ≤ decay ≤ 1.

    Buffers are not averaged: a target in training mode has the BatchNorm statistics of its own inputs, which differ from those
    of the online network (clean instead of augmented images).
    """
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - decay)
