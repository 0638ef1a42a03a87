"""Embeddings of many images."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.nn.conv import as_images

CHUNK = 1000
"""Images per forward pass: bounds the memory."""
SETTLING = 10_000
"""Images of which BatchNorm takes its statistics."""


def embed(method: Any, images: Tensor, device: torch.device, shifts: int = 0) -> Tensor:
    """Embeddings (N, D) of byte images (N, 28, 28) by a method, each averaged over the shifts of its image.

        z(x) = (2s + 1)⁻² Σ_{|a|, |b| ≤ s} f(T_ab x)

    T_ab moves an image by a pixels down and b to the right; its border is repeated where nothing else comes in.

    Args:
        shifts: s; 0 is f(x) itself.
    """
    method.eval()
    with torch.inference_mode():
        return torch.cat([_embed(method, as_images(chunk.to(device)), shifts).cpu() for chunk in images.split(CHUNK)])


def _embed(method: Any, x: Tensor, shifts: int) -> Tensor:
    height, width = x.shape[-2:]
    wide = F.pad(x, 4 * (shifts,), mode="replicate")
    corners = itertools.product(range(2 * shifts + 1), repeat=2)
    return torch.stack([method.embed(wide[..., a : a + height, b : b + width]) for a, b in corners]).mean(0)


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
