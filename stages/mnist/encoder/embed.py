"""Embeddings of images, in chunks."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.nn.conv import as_images

CHUNK = 1000
"""Images per forward pass, which limits the memory."""
STATISTICS_IMAGES = 10_000
"""Number of images from which BatchNorm statistics are computed."""


def embed(method: Any, images: Tensor, device: torch.device, shifts: int = 0) -> Tensor:
    """Embeddings (N, D) of byte images (N, H, W) or (N, H, W, 3), each averaged over shifts of the image.

        z(x) = (2s + 1)⁻² Σ_{|a|, |b| ≤ s} f(T_ab x)

    T_ab shifts an image by a pixels down and b to the right and repeats its border.

    Args:
        method: its encoder is f; set to evaluation mode.
        images: byte images x.
        device: of the method.
        shifts: s; 0 gives f(x) itself.
    """
    method.eval()
    with torch.inference_mode():
        return torch.cat([_embed(method, as_images(chunk.to(device)), shifts).cpu() for chunk in images.split(CHUNK)])


def _embed(method: Any, x: Tensor, shifts: int) -> Tensor:
    height, width = x.shape[-2:]
    wide = F.pad(x, 4 * (shifts,), mode="replicate")
    corners = itertools.product(range(2 * shifts + 1), repeat=2)
    return torch.stack([method.embed(wide[..., a : a + height, b : b + width]) for a, b in corners]).mean(0)


def with_statistics(method: Any, images: Tensor, device: torch.device) -> Any:
    """A copy of a method whose BatchNorm statistics are those of the byte images (N, H, W) or (N, H, W, 3)."""
    copied = copy.deepcopy(method).train()
    for module in copied.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # the cumulative average over all batches
    with torch.inference_mode():
        for chunk in images[:STATISTICS_IMAGES].split(CHUNK):
            copied.embed(as_images(chunk.to(device)))
    return copied.eval()


def for_knn(method: Any, z: Tensor) -> Tensor:
    """Embeddings in the form that k-NN uses: L2-normalised if the method's loss normalises them."""
    return F.normalize(z, dim=-1) if method.cosine else z
