"""The domain of points: batched multilayer perceptrons, one copy per seed, noisy views and a box."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.nn.method import Augment
from stages.nn.mlp import BatchedMLP
from stages.nn.noise import NoiseSource


class Points:
    """The networks and the augmentation of methods on points in d dimensions.

    Args:
        copies: S, independent copies of each network, one per seed.
        box: lower and upper end of each coordinate, (d, 2).
    """

    def __init__(self, *, copies: int, box: list[list[float]]) -> None:
        self.copies = copies
        self.box = box

    @property
    def dim(self) -> int:
        """Coordinates of a point, d."""
        return len(self.box)

    def uniform(self, like: Tensor, source: NoiseSource) -> Tensor:
        """Points uniform on the box, of the shape of `like` (..., B, d)."""
        low, high = torch.tensor(self.box, device=like.device, dtype=like.dtype).T
        return low + (high - low) * source.uniform(like)

    def augmentation(self, *, noise: float) -> Augment:
        """The noisy view x' = x + sε with s = `noise`, in units of x."""
        return lambda x, source: x + noise * source.normal(x)

    def encoder(self, *, width: int, depth: int, dim: int, inputs: int | None = None) -> BatchedMLP:
        """An encoder from (S, B, inputs), d by default, to embeddings (S, B, dim), with `depth` hidden layers."""
        return self.mlp(inputs=inputs or self.dim, outputs=dim, width=width, depth=depth)

    def predictor(self, *, dim: int, hidden: int) -> BatchedMLP:
        """A network from embeddings to embeddings with one hidden layer."""
        return self.mlp(inputs=dim, outputs=dim, width=hidden, depth=1)

    def mlp(self, *, inputs: int, outputs: int, width: int, depth: int) -> BatchedMLP:
        """A multilayer perceptron with `depth` hidden layers of `width` units."""
        return BatchedMLP(copies=self.copies, sizes=[inputs, *[width] * depth, outputs])
