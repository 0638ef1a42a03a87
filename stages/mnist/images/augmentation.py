"""Random augmentation of batches of images: transforms with random parameters for each image.

Each transform maps images x (B, C, H, W) to images of the same shape, at `factor` times its full strength. Lengths in the
params are in pixels of a 28 × 28 image; `make` scales them to the side of the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from stages.mnist.images.transforms import affine, dilation, elastic, erosion, gaussian, inversion, salt_and_pepper


@dataclass(frozen=True, kw_only=True)
class Affine:
    """Random affine maps; each parameter is uniform between ± its limit.

    Args:
        probability: of being applied to an image.
        rotation: limit in degrees.
        scale: limit of the relative change of size.
        shear: limit in degrees.
        translation: limit in pixels, along each axis.
    """

    probability: float
    rotation: float
    scale: float
    shear: float
    translation: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x with the limits scaled by `factor`."""
        count = x.shape[0]
        draw = torch.empty(count, 5, device=x.device).uniform_(-factor, factor, generator=generator) * self._limits(x.device)
        angle, scale, shear, *_ = draw.unbind(-1)
        return affine(x, angle=angle, scale=1 + scale, shear=shear, shift=draw[:, 3:])

    @cache  # noqa: B019
    def _limits(self, device: torch.device) -> Tensor:
        angles = (math.radians(self.rotation), self.scale, math.radians(self.shear))
        return torch.tensor([*angles, self.translation, self.translation], device=device)


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """Random smooth deformations; the displacements at the nodes of a coarse grid are normal.

    Args:
        probability: of being applied to an image.
        nodes: nodes of the grid along each side.
        displacement: standard deviation at the nodes, in pixels.
    """

    probability: float
    nodes: int
    displacement: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Deform all images of x with the displacements scaled by `factor`."""
        shape = (len(x), 2, self.nodes, self.nodes)
        draw = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        return elastic(x, draw * (self.displacement * factor))


@dataclass(frozen=True, kw_only=True)
class Morphology:
    """Erosion or dilation by a square of `side` pixels; a fractional side interpolates between the two nearest integers."""

    function: Callable[[Tensor, int], Tensor]
    probability: float
    side: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x with a square of side 1 + (side − 1) · `factor`."""
        side = 1 + (self.side - 1) * factor
        whole = math.floor(side)
        smaller = self.function(x, whole)
        return smaller if side == whole else smaller.lerp(self.function(x, whole + 1), side - whole)


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """Blend with the negative by `amount`."""

    probability: float
    amount: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x by `factor` times the amount."""
        return inversion(x, self.amount * factor)


@dataclass(frozen=True, kw_only=True)
class LowContrast:
    """Blend with uniform grey: y = ½ + (1 − loss)(x − ½)."""

    probability: float
    loss: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x by `factor` times the loss."""
        return inversion(x, self.loss * factor / 2)


@dataclass(frozen=True, kw_only=True)
class SaltAndPepper:
    """Set a random `fraction` of the pixels to black or white."""

    probability: float
    fraction: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x with `factor` times the fraction."""
        uniform = torch.rand((len(x), 1, *x.shape[-2:]), generator=generator, device=x.device)  # all channels of a pixel
        return salt_and_pepper(x, uniform, self.fraction * factor)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Add normal noise of standard deviation `std`, in grey values."""

    probability: float
    std: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x with `factor` times the standard deviation."""
        return gaussian(x, torch.randn(x.shape, generator=generator, device=x.device), self.std * factor)


@dataclass(frozen=True, kw_only=True)
class Flip:
    """Mirror an image left to right."""

    probability: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Mirror all images of x, at any strength above 0."""
        return x.flip(-1) if factor > 0 else x


Step = Affine | Elastic | Morphology | LowContrast | Inversion | SaltAndPepper | Gaussian | Flip
UNIT = 28
"""Side of the images in whose pixels the lengths in the params are."""
LENGTHS = {"affine": "translation", "elastic": "displacement"}
"""The params that are lengths, by transform; the side of a square is one as well."""


def make(name: str, settings: dict[str, float], side: int) -> Step:
    """The transform called `name`, a key of the params blocks, with its settings, for images of a side in pixels."""
    scale = side / UNIT
    if name in ("erosion", "dilation"):
        return Morphology(
            function={"erosion": erosion, "dilation": dilation}[name],
            probability=settings["probability"],
            side=1 + (settings["side"] - 1) * scale,  # a square of one pixel changes nothing
        )
    if name in LENGTHS:
        settings = {**settings, LENGTHS[name]: settings[LENGTHS[name]] * scale}
    kinds = {
        "affine": Affine,
        "elastic": Elastic,
        "low_contrast": LowContrast,
        "inversion": Inversion,
        "salt_and_pepper": SaltAndPepper,
        "gaussian": Gaussian,
        "flip": Flip,
    }
    return kinds[name](**settings)


class Augmentation:
    """The random augmentation of a training view: applies the transforms in turn, each to an image with its probability.

    Args:
        steps: the transforms, in their order.
        schedule: factor on all strengths at the start and at the end of the training, linear in between.
    """

    def __init__(self, steps: list[Step], schedule: tuple[float, float]) -> None:
        self.steps = steps
        self.schedule = schedule

    def __call__(self, x: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Augment images x (B, C, H, W) in [0, 1] independently; `progress` runs from 0 to 1 over training."""
        start, end = self.schedule
        factor = start + (end - start) * progress
        chosen = torch.rand(len(self.steps), x.shape[0], generator=generator, device=x.device)
        hit = chosen < self._probabilities(x.device)
        if x.device.type != "cpu":
            for step, hits in zip(self.steps, hit, strict=True):
                x = torch.where(hits.view(-1, 1, 1, 1), step(x, factor, generator), x)
            return x
        # Most transforms hit few images. On a GPU, selecting these would force a synchronisation, so there all are computed.
        given = x
        rows = hit.nonzero()[:, 1].split(hit.sum(-1).tolist())
        for step, hits in zip(self.steps, rows, strict=True):
            if len(hits) == len(x):
                x = step(x, factor, generator)
            elif len(hits):
                x = x.clone() if x is given else x
                x.index_copy_(0, hits, step(x[hits], factor, generator))
        return x

    @cache  # noqa: B019
    def _probabilities(self, device: torch.device) -> Tensor:
        return torch.tensor([step.probability for step in self.steps], device=device).view(-1, 1)
