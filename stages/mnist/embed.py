"""Embeddings of many images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.nn.conv import as_images

CHUNK = 1000
"""Images per forward pass: bounds the memory."""


def embed(method: Any, images: Tensor, device: torch.device) -> Tensor:
    """Embeddings (N, D) of byte images (N, 28, 28) by a method."""
    method.eval()
    with torch.inference_mode():
        return torch.cat([method.embed(as_images(chunk.to(device))).cpu() for chunk in images.split(CHUNK)])


def as_seen(method: Any, z: Tensor) -> Tensor:
    """Embeddings as k-NN sees them: of unit length where the method's loss sees directions alone."""
    return F.normalize(z, dim=-1) if method.cosine else z
