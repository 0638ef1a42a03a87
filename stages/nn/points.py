"""The mixture as a world for the methods: batched perceptrons, one copy per seed, noisy second views, and a box."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.nn.method import Perturb
from stages.nn.mlp import BatchedMLP
from stages.nn.noise import Draws


class Points:
    """Gives a method its networks and its second view.

    Args:
        copies: S, how many independent networks each of them is.
        box: the lower and upper end of each coordinate, (2, 2): the part of the plane that is looked at.
    """

    def __init__(self, *, copies: int, box: list[list[float]]) -> None:
        self.copies = copies
        self.box = box

    def uniform(self, like: Tensor, draws: Draws) -> Tensor:
        """Points uniform in the box, as many as there are in `like` (..., B, 2)."""
        low, high = torch.tensor(self.box, device=like.device, dtype=like.dtype).T
        return low + (high - low) * draws.uniform(like)

    def perturbation(self, *, noise: float) -> Perturb:
        """X' = x + s ε with s = `noise`."""
        return lambda x, draws: x + noise * draws.normal(x)

    def encoder(self, *, width: int, depth: int, dim: int, inputs: int = 2) -> BatchedMLP:
        """An encoder of points (S, B, inputs) with `dim` outputs and `depth` hidden layers."""
        return self.mlp(inputs=inputs, outputs=dim, width=width, depth=depth)

    def predictor(self, *, dim: int, hidden: int) -> BatchedMLP:
        """A network from embeddings to embeddings with one hidden layer."""
        return self.mlp(inputs=dim, outputs=dim, width=hidden, depth=1)

    def mlp(self, *, inputs: int, outputs: int, width: int, depth: int) -> BatchedMLP:
        """`depth` hidden layers of `width`."""
        return BatchedMLP(copies=self.copies, sizes=[inputs, *[width] * depth, outputs])
