"""Networks for 28 × 28 images: encoder, predictor, decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvEncoder(nn.Sequential):
    """Images (B, 1, 28, 28) to embeddings (B, dim).

    A 5 × 5 convolution with stride 2, then two 3 × 3 convolutions with pooling, each with BatchNorm and ReLU, and a linear
    layer. Flattening the features keeps their position: global pooling loses several percentage points of k-NN accuracy.
    Weights and features have the channels-last memory format, the native one of convolutions on CPUs and tensor cores.

    Args:
        channels: of the three convolutions.
        dim: embedding dimension.
        mixed_precision: compute in bfloat16 on a GPU; embeddings and weights remain float32.
    """

    def __init__(self, *, channels: list[int], dim: int, mixed_precision: bool) -> None:
        first, second, third = channels
        super().__init__(
            nn.Conv2d(1, first, 5, stride=2, padding=2, bias=False),
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
            nn.Linear(third * 16, dim),
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
    """Embeddings (B, dim) to images (B, 1, 28, 28) with values in [0, 1]."""

    def __init__(self, *, dim: int, channels: int) -> None:
        super().__init__(
            nn.Linear(dim, channels * 49, bias=False),
            nn.BatchNorm1d(channels * 49),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (channels, 7, 7)),
            nn.ConvTranspose2d(channels, channels // 2, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels // 2),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(channels // 2, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )


def as_images(x: Tensor) -> Tensor:
    """Bytes (B, 28, 28) to float images (B, 1, 28, 28) with values in [0, 1]."""
    return x.unsqueeze(1).float().div_(255)
