"""Multilayer perceptrons in S independent copies, with one batched matrix product per layer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class BatchedLinear(nn.Module):
    """S affine maps at once: y_s = x_s W_s + b_s, with weight (S, in, out) and bias (S, 1, out).

    Both are initialised uniformly on ±1/√in, PyTorch's default for `nn.Linear`.
    """

    def __init__(self, copies: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(copies, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (S, B, in) to (S, B, out)."""
        return torch.baddbmm(self.bias, x, self.weight)


class BatchedMLP(nn.Sequential):
    """S independent multilayer perceptrons with SiLU between the layers.

    Args:
        copies: S.
        sizes: widths of all layers, including input and output.
    """

    def __init__(self, *, copies: int, sizes: list[int]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [BatchedLinear(copies, inputs, outputs), nn.SiLU()]
        super().__init__(*layers[:-1])
        self.copies = copies
        self.outputs = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map x (S, B, in), or (B, in) for all copies, to (S, B, out)."""
        return super().forward(x.expand(self.copies, *x.shape[-2:]))

    def with_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs (S, B, out) at x (S, B, in) and their derivatives with respect to each input, (in, S, B, out).

        Forward-mode differentiation: with few inputs it is cheaper than one backward pass per output, and one backward pass
        differentiates the result with respect to the parameters.
        """
        value = x.expand(self.copies, *x.shape[-2:])
        slopes = torch.eye(x.shape[-1], device=x.device, dtype=x.dtype)[:, None, None].expand(-1, *value.shape)
        for layer in self:
            if isinstance(layer, BatchedLinear):
                value, slopes = layer(value), slopes @ layer.weight
            else:  # SiLU, the only other layer
                gate = value.sigmoid()
                slopes = (gate * (1 + value * (1 - gate))) * slopes
                value = gate * value
        return value, slopes
