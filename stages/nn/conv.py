"""Networks for square images, grey or colour: encoder, predictor, decoder; and the two layouts of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvEncoder(nn.Sequential):
    """Images (B, C, side, side) to embeddings (B, dim).

    A 5 × 5 convolution with stride 2, then two 3 × 3 convolutions with pooling, each with BatchNorm and ReLU, and a linear
    layer. Flattening the features keeps their position: global pooling loses several percentage points of k-NN accuracy.
    Weights and features have the channels-last memory format, the native one of convolutions on CPUs and tensor cores.

    Args:
        channels: of the three convolutions.
        dim: embedding dimension.
        side: of the images, in pixels.
        colours: channels C of the images.
        mixed_precision: compute in bfloat16 on a GPU; embeddings and weights remain float32.
    """

    def __init__(self, *, channels: list[int], dim: int, side: int, colours: int, mixed_precision: bool) -> None:
        first, second, third = channels
        left = -(-(-(-side // 2) // 2) // 2)  # rounded up, down and up by the convolution with stride and the two poolings
        super().__init__(
            nn.Conv2d(colours, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 3, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(second, third, 3, padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(third * left**2, dim),
        )
        self.outputs = dim
        self.mixed_precision = mixed_precision
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (B, dim), in the precision of the weights."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed_precision and x.is_cuda):
            z = super().forward(x.contiguous(memory_format=torch.channels_last))
        return z.to(self[0].weight.dtype)


class Predictor(nn.Sequential):
    """Embeddings (B, dim) to predicted embeddings (B, dim): linear, BatchNorm, ReLU, linear."""

    def __init__(self, *, dim: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(dim, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)
        )
        self.outputs = dim


class Decoder(nn.Sequential):
    """Embeddings (B, dim) to images (B, C, side, side) with values in [0, 1].

    Args:
        dim: embedding dimension.
        channels: of the first feature map, a quarter of the image in height and width.
        side: of the images, in pixels; if it is no multiple of 4, the images are cut to it.
        colours: channels C of the images.
    """

    def __init__(self, *, dim: int, channels: int, side: int, colours: int) -> None:
        quarter = -(-side // 4)
        super().__init__(
            nn.Linear(dim, channels * quarter**2, bias=False),
            nn.BatchNorm1d(channels * quarter**2),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (channels, quarter, quarter)),
            nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(channels // 2, colours, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )
        self.side = side

    def forward(self, z: Tensor) -> Tensor:
        """Images (B, C, side, side)."""
        return super().forward(z)[..., : self.side, : self.side]


def as_images(x: Tensor) -> Tensor:
    """Byte images (B, H, W), or (B, H, W, 3) in colour, to float images (B, C, H, W) with values in [0, 1]."""
    x = x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2).contiguous()
    return x.float().div_(255)


def as_arrays(x: Tensor) -> Tensor:
    """Images (..., C, H, W) in the layout of the files: (..., H, W), or (..., H, W, 3) in colour."""
    return x.squeeze(-3) if x.shape[-3] == 1 else x.movedim(-3, -1)
