"""The mixture as a world for the methods: batched perceptrons, one copy per seed, and noisy second views."""

from __future__ import annotations

from stages.nn.method import Perturb
from stages.nn.mlp import BatchedMLP


class Points:
    """Gives a method its networks and its second view.

    Args:
        copies: S, how many independent networks each of them is.
    """

    def __init__(self, *, copies: int) -> None:
        self.copies = copies

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
