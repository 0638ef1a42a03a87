"""A small U-Net from noisy images, flattened to vectors, to vectors of the same size.

Ronneberger et al. 2015, "U-Net: Convolutional networks for biomedical image segmentation", arXiv 1505.04597; with residual
blocks and modulation by the noise level as in Dhariwal and Nichol 2021, "Diffusion models beat GANs on image synthesis",
arXiv 2105.05233.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 8
"""Frequencies of the features of the noise level, from 1/4 to 4 radians per unit, geometrically spaced."""
GROUPS = 8
"""Groups of the normalisation, or fewer if the channels are not a multiple."""


class UNet(nn.Module):
    """Images (..., B, C · H · W), each followed by a function of its noise level if `conditioned`, to (..., B, C · H · W).

    Args:
        shape: C, H and W.
        patch: side of the squares of pixels that are folded into channels first: the work falls with its square.
        channels: of the levels; each level has half the height and width of the one before.
        conditioned: whether the last coordinate of the input is a function of the noise level, such as its logarithm.
    """

    def __init__(self, *, shape: tuple[int, int, int], patch: int, channels: list[int], conditioned: bool) -> None:
        super().__init__()
        self.shape = shape
        self.conditioned = conditioned
        self.patch = patch
        folded = shape[0] * patch**2
        features = 4 * channels[0]
        self.register_buffer("frequencies", 0.25 * 2 ** torch.linspace(0, 4, FREQUENCIES), persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * FREQUENCIES, features), nn.SiLU(), nn.Linear(features, features), nn.SiLU())
        self.first = nn.Conv2d(folded, channels[0], 3, padding=1)
        wider = list(pairwise([channels[0], *channels]))
        self.down = nn.ModuleList(Block(inputs, outputs, features) for inputs, outputs in wider)
        self.middle = Block(channels[-1], channels[-1], features)
        self.up = nn.ModuleList(Block(2 * outputs, inputs, features) for inputs, outputs in reversed(wider))
        self.norm = normalisation(channels[0])
        self.last = nn.Conv2d(channels[0], folded, 3, padding=1)
        # The network starts as the zero function, so that the method starts with its own linear prediction.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., B, C · H · W [+ 1]) to (..., B, C · H · W)."""
        *lead, _ = x.shape
        flat = x.reshape(-1, x.shape[-1])
        size = math.prod(self.shape)
        level = flat[:, size] if self.conditioned else flat.new_zeros(len(flat))
        angle = level[:, None] * self.frequencies  # type: ignore[operator]
        features = self.level(torch.cat((angle.sin(), angle.cos()), -1))
        images = padded(flat[:, :size].reshape(-1, *self.shape), self.patch * 2 ** (len(self.down) - 1))
        values = self.first(F.pixel_unshuffle(images, self.patch))
        kept = []
        for i, block in enumerate(self.down):
            values = block(values if i == 0 else F.avg_pool2d(values, 2), features)
            kept.append(values)
        values = self.middle(values, features)
        for i, (block, skipped) in enumerate(zip(self.up, reversed(kept), strict=True)):
            values = block(torch.cat((values if i == 0 else doubled(values), skipped), 1), features)
        out = F.pixel_shuffle(self.last(F.silu(self.norm(values))), self.patch)
        return out[..., : self.shape[1], : self.shape[2]].reshape(*lead, size)


class Block(nn.Module):
    """Two convolutions with a skip connection; the features of the noise level scale and shift the values between them."""

    def __init__(self, inputs: int, outputs: int, features: int) -> None:
        super().__init__()
        self.before, self.between = normalisation(inputs), normalisation(outputs)
        self.one = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.two = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(features, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Map x (B, inputs, H, W) to (B, outputs, H, W)."""
        scale, shift = self.modulation(features)[..., None, None].chunk(2, 1)
        values = self.between(self.one(F.silu(self.before(x)))) * (1 + scale) + shift
        return torch.add(self.two(F.silu(values)), self.skip(x))


def normalisation(channels: int) -> nn.GroupNorm:
    """Normalisation within groups of channels: it does not depend on the rest of the batch, nor on its noise levels."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def padded(x: Tensor, multiple: int) -> Tensor:
    """Zeros below and to the right until height and width are multiples of a number."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple))


def doubled(x: Tensor) -> Tensor:
    """Every pixel of x (B, C, H, W) twice in both directions; unlike `interpolate` it is deterministic on a GPU."""
    batch, channels, height, width = x.shape
    return x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(batch, channels, 2 * height, 2 * width)
