"""Transforms of batches of images: deterministic functions of images (B, 1, H, W) in [0, 1] and their parameters per image."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def affine(x: Tensor, *, angle: Tensor, scale: Tensor, shear: Tensor, shift: Tensor) -> Tensor:
    """Rotate, scale, shear and translate each image about its centre, bilinearly, with zeros from outside.

    A pixel at position q (x to the right, y down, from the centre) comes from A⁻¹(q − t), A = scale · R(angle) · Shear(shear).

    Args:
        x: images (B, 1, H, W).
        angle: radians (B,); a positive one turns clockwise as seen on the screen.
        scale: factors (B,), 1 leaves the size.
        shear: radians (B,), along x.
        shift: pixels (B, 2) to the right and down.
    """
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"affine works on square images, not on {tuple(x.shape[-2:])}")
    turned = torch.polar(scale.reciprocal(), angle)
    cos, sin, tan = turned.real, turned.imag, shear.tan()
    # The rows of A⁻¹ = Shear(−shear) · R(−angle) / scale.
    inverse = torch.stack((torch.addcmul(cos, tan, sin), torch.addcmul(sin, tan, cos, value=-1), -sin, cos), -1).view(-1, 2, 2)
    offset = (inverse * shift.mul(-2 / x.shape[-1]).unsqueeze(-2)).sum(-1, keepdim=True)
    centres = positions(*x.shape[-2:], x.device, x.dtype).flatten(1)
    sources = torch.baddbmm(offset, inverse, centres.expand(len(x), -1, -1))
    return _taken_from(x, sources.unflatten(-1, x.shape[-2:]))


def elastic(x: Tensor, displacement: Tensor) -> Tensor:
    """Bend each image smoothly: the pixel at position q comes from q + u(q), bilinearly, with zeros from outside.

    u is the bicubic surface through displacements at the nodes of a coarse grid over the image.
    Simard et al. 2003, "Best practices for convolutional neural networks applied to visual document analysis".

    Args:
        x: images (B, 1, H, W).
        displacement: pixels to the right and down at the nodes, (B, 2, n, n).
    """
    height, width = x.shape[-2:]
    nodes, kind = displacement.shape[-1], (displacement.device, displacement.dtype)
    at_nodes = (displacement * pixel(height, width, *kind)).flatten(2)
    surface = bicubic(nodes, height, width, *kind).expand(len(x), -1, -1)
    sources = torch.baddbmm(positions(height, width, *kind).flatten(1), at_nodes, surface)
    return _taken_from(x, sources.unflatten(-1, (height, width)))


def _taken_from(x: Tensor, sources: Tensor) -> Tensor:
    """Images whose pixels come from `sources` (B, 2, H, W) of x, bilinearly, with zeros from outside."""
    return F.grid_sample(x, sources.permute(0, 2, 3, 1), mode="bilinear", padding_mode="zeros", align_corners=False)


@cache
def positions(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """x and y of each pixel's centre, (2, H, W): from −1 to 1 between the edges of an image.

    Kept where it is used: `F.affine_grid` makes it anew each time, which takes longer than sampling the images does.
    """
    x, y = (((torch.arange(n, dtype=torch.float64) * 2 + 1) / n - 1) for n in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy")).to(device, dtype)


@cache
def pixel(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The width and the height of a pixel, (2, 1, 1), in the units of `positions`."""
    return torch.tensor([2 / width, 2 / height], dtype=torch.float64).view(2, 1, 1).to(device, dtype)


@cache
def bicubic(nodes: int, height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The matrix (nodes², H · W) from values at the nodes of an even grid over the image to the bicubic surface through them.

    A product with it is what `F.interpolate` does, in a tenth of the time. It is kept where it is used: a GPU would be waited
    for in every step if it were copied there each time.
    """
    unit = torch.eye(nodes**2, dtype=torch.float64).view(1, -1, nodes, nodes)
    return F.interpolate(unit, (height, width), mode="bicubic", align_corners=True)[0].flatten(1).to(device, dtype)


def erosion(x: Tensor, side: int) -> Tensor:
    """Grey-scale erosion with a flat square of `side` pixels: y(q) = min of x over the square at q.

    Equals `scipy.ndimage.grey_erosion(x, size=(side, side))`; an even square reaches one pixel further up and left.
    """
    return -_highest(-x, side, before=side // 2)


def dilation(x: Tensor, side: int) -> Tensor:
    """Grey-scale dilation with a flat square of `side` pixels: y(q) = max of x over the square at q.

    Equals `scipy.ndimage.grey_dilation(x, size=(side, side))`; an even square reaches one pixel further down and right.
    """
    return _highest(x, side, before=side - 1 - side // 2)


def _highest(x: Tensor, side: int, before: int) -> Tensor:
    """The maximum over the square at each pixel, which reaches `before` pixels up and left: first along rows, then columns."""
    after = side - 1 - before
    padded = F.pad(x, (before, after, before, after), value=-math.inf)
    return _along(_along(padded, -1, side), -2, side)


def _along(x: Tensor, dim: int, length: int) -> Tensor:
    """The maximum of each `length` neighbours along `dim`, by doubling: in a third of the time of `F.max_pool2d`."""
    if length == 1:
        return x
    half = length // 2
    highest = _along(x, dim, length - half)
    count = x.shape[dim] - length + 1
    return torch.maximum(highest.narrow(dim, 0, count), highest.narrow(dim, half, count))


def inversion(x: Tensor, amount: Tensor | float) -> Tensor:
    """Blend with the negative: y = x + a (1 − 2x), so the contrast is 1 − 2a: a = 1 is the negative, a = ½ uniform grey."""
    return x + _per_image(amount) * (1 - 2 * x)


def salt_and_pepper(x: Tensor, uniform: Tensor, fraction: Tensor | float) -> Tensor:
    """Set a fraction of the pixels to black or white, equally often; `uniform` are draws on [0, 1) of the shape of x."""
    fraction = _per_image(fraction)
    return torch.where(uniform < fraction, (uniform < fraction / 2).to(x.dtype), x)


def gaussian(x: Tensor, normal: Tensor, std: Tensor | float) -> Tensor:
    """Add normal noise of standard deviation `std` (grey values in [0, 1]) and clip; `normal` are draws of the shape of x."""
    return (x + _per_image(std) * normal).clamp(0, 1)


def _per_image(value: Tensor | float) -> Tensor | float:
    return value.view(-1, 1, 1, 1) if isinstance(value, Tensor) else value
