"""The moving-average copy of a network that serves as a slow target."""

from __future__ import annotations

import copy

import torch
from torch import nn


def frozen_copy(network: nn.Module) -> nn.Module:
    """A copy of `network` that no gradient reaches."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, decay: float) -> None:
    """θ' ← decay·θ' + (1 − decay)·θ over all parameters.

    Buffers are left alone on purpose: a target that runs in training mode gathers BatchNorm statistics of its own inputs,
    which are not those of the online network (clean against perturbed images).
    """
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), 1 - decay)
