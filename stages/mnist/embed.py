"""Embeddings of many images."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.nn.conv import as_images

CHUNK = 1000
"""Images per forward pass: bounds the memory."""
SETTLING = 10_000
"""Images of which BatchNorm takes its statistics."""


def embed(method: Any, images: Tensor, device: torch.device) -> Tensor:
    """Embeddings (N, D) of byte images (N, 28, 28) by a method."""
    method.eval()
    with torch.inference_mode():
        return torch.cat([method.embed(as_images(chunk.to(device))).cpu() for chunk in images.split(CHUNK)])


def settle(method: Any, images: Tensor, device: torch.device) -> Any:
    """A copy of a method whose BatchNorm layers have the statistics of these images (N, 28, 28) instead of those they had."""
    settled = copy.deepcopy(method).train()
    for module in settled.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the plain average over all batches
    with torch.inference_mode():
        for chunk in images[:SETTLING].split(CHUNK):
            settled.embed(as_images(chunk.to(device)))
    return settled.eval()


def as_seen(method: Any, z: Tensor) -> Tensor:
    """Embeddings as k-NN sees them: of unit length where the method's loss sees directions alone."""
    return F.normalize(z, dim=-1) if method.cosine else z
