"""Deterministic transforms of images (B, C, H, W) in [0, 1], with parameters for each image."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def affine(x: Tensor, *, angle: Tensor, scale: Tensor, shear: Tensor, shift: Tensor) -> Tensor:
    """Rotate, scale and shear each image about its centre and translate it, with bilinear interpolation and zero padding.

    The pixel at position q (x to the right, y down, from the centre) is sampled at A⁻¹(q − t), with
    A = scale · R(angle) · Shear(shear).

    Args:
        x: square images (B, C, H, W).
        angle: radians (B,); positive is clockwise on the screen.
        scale: factors (B,); 1 keeps the size.
        shear: radians (B,), along x.
        shift: pixels (B, 2) to the right and down.

    Raises:
        ValueError: the images are not square.
    """
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"affine needs square images, not {tuple(x.shape[-2:])}")
    turned = torch.polar(scale.reciprocal(), angle)
    cos, sin, tan = turned.real, turned.imag, shear.tan()
    # The rows of A⁻¹ = Shear(−shear) · R(−angle) / scale.
    inverse = torch.stack((torch.addcmul(cos, tan, sin), torch.addcmul(sin, tan, cos, value=-1), -sin, cos), -1).view(-1, 2, 2)
    offset = (inverse * shift.mul(-2 / x.shape[-1]).unsqueeze(-2)).sum(-1, keepdim=True)
    centres = positions(*x.shape[-2:], x.device, x.dtype).flatten(1)
    sources = torch.baddbmm(offset, inverse, centres.expand(len(x), -1, -1))
    return _sample(x, sources.unflatten(-1, x.shape[-2:]))


def elastic(x: Tensor, displacement: Tensor) -> Tensor:
    """Deform each image smoothly: the pixel at position q is sampled at q + u(q), bilinearly and with zero padding.

    u is the bicubic surface through displacements at the nodes of a coarse grid over the image.
    Simard et al. 2003, "Best practices for convolutional neural networks applied to visual document analysis".

    Args:
        x: images (B, C, H, W).
        displacement: pixels to the right and down at the nodes, (B, 2, n, n).
    """
    height, width = x.shape[-2:]
    nodes, kind = displacement.shape[-1], (displacement.device, displacement.dtype)
    at_nodes = (displacement * pixel(height, width, *kind)).flatten(2)
    surface = bicubic(nodes, height, width, *kind).expand(len(x), -1, -1)
    sources = torch.baddbmm(positions(height, width, *kind).flatten(1), at_nodes, surface)
    return _sample(x, sources.unflatten(-1, (height, width)))


def _sample(x: Tensor, sources: Tensor) -> Tensor:
    """Sample x at the positions `sources` (B, 2, H, W), bilinearly and with zero padding."""
    return F.grid_sample(x, sources.permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros", align_corners=False)


@cache
def positions(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """x and y of the pixels' centres, (2, H, W), in coordinates that are −1 and 1 at the edges of an image.

    Cached, since `F.affine_grid` recomputes them in every call, which takes longer than sampling the images.
    """
    x, y = (((torch.arange(n, dtype=torch.float64) * 2 + 1) / n - 1) for n in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy")).to(device, dtype)


@cache
def pixel(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Width and height of a pixel, (2, 1, 1), in the units of `positions`."""
    return torch.tensor([2 / width, 2 / height], dtype=torch.float64).view(2, 1, 1).to(device, dtype)


@cache
def bicubic(nodes: int, height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix (nodes², H · W) that maps values at the nodes of a uniform grid to the bicubic surface through them.

    A product with it equals `F.interpolate` and takes a tenth of the time. It is cached on its device, since a copy in every
    step would force a synchronisation of the GPU.
    """
    unit = torch.eye(nodes**2, dtype=torch.float64).view(1, -1, nodes, nodes)
    return F.interpolate(unit, (height, width), mode="bicubic", align_corners=True)[0].flatten(1).to(device, dtype)


def erosion(x: Tensor, side: int) -> Tensor:
    """Grey-scale erosion with a flat square of `side` pixels: y(q) = min of x over the square at q.

    Equals `scipy.ndimage.grey_erosion(x, size=(side, side))`; an even square reaches one pixel further up and left.
    """
    return -_maximum(-x, side, before=side // 2)


def dilation(x: Tensor, side: int) -> Tensor:
    """Grey-scale dilation with a flat square of `side` pixels: y(q) = max of x over the square at q.

    Equals `scipy.ndimage.grey_dilation(x, size=(side, side))`; an even square reaches one pixel further down and right.
    """
    return _maximum(x, side, before=side - 1 - side // 2)


def _maximum(x: Tensor, side: int, before: int) -> Tensor:
    """The maximum over a square at each pixel that reaches `before` pixels up and left; separable: rows, then columns."""
    after = side - 1 - before
    padded = F.pad(x, (before, after, before, after), value=-math.inf)
    return _along(_along(padded, -1, side), -2, side)


def _along(x: Tensor, dim: int, length: int) -> Tensor:
    """The maximum over each `length` neighbours along `dim`, by doubling; takes a third of the time of `F.max_pool2d`."""
    if length == 1:
        return x
    half = length // 2
    highest = _along(x, dim, length - half)
    count = x.shape[dim] - length + 1
    return torch.maximum(highest.narrow(dim, 0, count), highest.narrow(dim, half, count))


def inversion(x: Tensor, amount: Tensor | float) -> Tensor:
    """Blend with the negative, y = x + a (1 − 2x). The contrast is 1 − 2a: a = ½ is uniform grey, a = 1 the negative."""
    return x + _per_image(amount) * (1 - 2 * x)


def salt_and_pepper(x: Tensor, uniform: Tensor, fraction: Tensor | float) -> Tensor:
    """Set a fraction of the pixels to black or white, equally often; `uniform` is uniform noise on [0, 1), (B, 1, H, W)."""
    fraction = _per_image(fraction)
    return torch.where(uniform < fraction, (uniform < fraction / 2).to(x.dtype), x)


def gaussian(x: Tensor, normal: Tensor, std: Tensor | float) -> Tensor:
    """Add noise of standard deviation `std`, in grey values, and clip to [0, 1]; `normal` is standard normal, shaped like x."""
    return (x + _per_image(std) * normal).clamp(0, 1)


def _per_image(value: Tensor | float) -> Tensor | float:
    return value.view(-1, 1, 1, 1) if isinstance(value, Tensor) else value
