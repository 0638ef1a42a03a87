"""Reconstructions and their distance from the clean images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.metrics import images
from stages.metrics.summary import over_seeds
from stages.mnist.decoder.model import Reconstruction
from stages.mnist.encoder.embed import CHUNK
from stages.nn.conv import as_arrays, as_images

Array = NDArray[np.float64]


def reconstruct(model: Reconstruction, perturbed: NDArray[np.uint8], device: torch.device) -> Array:
    """Reconstructions of perturbed byte images (N, H, W) or (N, H, W, 3), of the same shape."""
    with torch.inference_mode():
        chunks = torch.from_numpy(perturbed).split(CHUNK)
        return torch.cat([as_arrays(model(as_images(c.to(device)))).cpu() for c in chunks]).double().numpy()


def closeness(clean: Array, other: Array) -> dict[str, Any]:
    """MSE, PSNR (dB) and SSIM between clean and other images (N, H, W) or (N, H, W, 3) in [0, 1], averaged over the images."""
    return {
        "mse": over_seeds(images.mse(clean, other).mean()),
        "psnr": over_seeds(images.psnr(clean, other).mean()),
        "ssim": over_seeds(images.ssim(clean, other).mean()),
    }


def interpolations(model: Reconstruction, ends: NDArray[np.uint8], frames: int, device: torch.device) -> NDArray[np.float32]:
    """Images decoded along a closed path through the embeddings of byte images (K, H, W) or (K, H, W, 3).

    The path consists of straight lines from each embedding to the next, and from the last one to the first. Each line has
    `frames` images.
    """
    with torch.inference_mode():
        z = model.encoder.embed(as_images(torch.from_numpy(ends).to(device)))
        share = torch.linspace(0, 1, frames + 1, device=device)[:-1, None]
        path = torch.cat([a + share * (b - a) for a, b in zip(z, z.roll(-1, 0), strict=True)])
        decoded: NDArray[np.float32] = as_arrays(model.decoder(path)).cpu().numpy()
        return decoded
