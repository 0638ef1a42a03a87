"""Random augmentation of batches of images: transforms with random parameters for each image.

Each transform maps images x (B, C, H, W) to images of the same shape, at `factor` times its full strength. It draws its random
numbers before it reads an image: `draw` returns the parameters of each image and `apply` uses them. Several batches can thus
draw one after the other and be transformed together. Lengths in the params are in pixels of a 28 × 28 image; `make` scales
them to the side of the images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from stages.mnist.images.transforms import affine, dilation, elastic, erosion, gaussian, inversion, salt_and_pepper


@dataclass(frozen=True, kw_only=True)
class Transform(ABC):
    """A random transform.

    Args:
        probability: of being applied to an image.
    """

    probability: float

    def __call__(self, x: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Transform all images of x at `factor` times the full strength."""
        return self.apply(x, *self.draw(x, factor, generator))

    @abstractmethod
    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The parameters of images of the shape of `like` (B, C, H, W), each (B, ...)."""

    @abstractmethod
    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Transform each image of x by its own parameters."""


@dataclass(frozen=True, kw_only=True)
class Affine(Transform):
    """Random affine maps; each parameter is uniform between ± its limit.

    Args:
        rotation: limit in degrees.
        scale: limit of the relative change of size.
        shear: limit in degrees.
        translation: limit in pixels, along each axis.
    """

    rotation: float
    scale: float
    shear: float
    translation: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Angle, change of size, shear and both translations (B, 5), within the limits scaled by `factor`."""
        draw = torch.empty(len(like), 5, device=like.device).uniform_(-factor, factor, generator=generator)
        return (draw * self._limits(like.device),)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Map the images."""
        (maps,) = parameters
        angle, scale, shear, *_ = maps.unbind(-1)
        return affine(x, angle=angle, scale=1 + scale, shear=shear, shift=maps[:, 3:])

    @cache  # noqa: B019
    def _limits(self, device: torch.device) -> Tensor:
        angles = (math.radians(self.rotation), self.scale, math.radians(self.shear))
        return torch.tensor([*angles, self.translation, self.translation], device=device)


@dataclass(frozen=True, kw_only=True)
class Elastic(Transform):
    """Random smooth deformations; the displacements at the nodes of a coarse grid are normal.

    Args:
        nodes: nodes of the grid along each side.
        displacement: standard deviation at the nodes, in pixels.
    """

    nodes: int
    displacement: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The displacements of the nodes (B, 2, nodes, nodes), scaled by `factor`, in pixels."""
        shape = (len(like), 2, self.nodes, self.nodes)
        draw = torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
        return (draw * (self.displacement * factor),)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Deform the images."""
        return elastic(x, *parameters)


@dataclass(frozen=True, kw_only=True)
class Morphology(Transform):
    """Erosion or dilation by a square of `side` pixels; a fractional side interpolates between the two nearest integers."""

    function: Callable[[Tensor, int], Tensor]
    side: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The sides of the squares (B,), 1 + (side − 1) · `factor`; on the CPU, which has to know them."""
        return (torch.full((len(like),), 1 + (self.side - 1) * factor, dtype=torch.float64),)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Erode or dilate the images, those with equal squares together."""
        (sides,) = parameters
        different = sides.unique().tolist()
        if len(different) == 1:
            return self._with(x, different[0])
        y = torch.empty_like(x)
        for side in different:
            rows = (sides == side).nonzero().squeeze(-1).to(x.device)
            y.index_copy_(0, rows, self._with(x[rows], side))
        return y

    def _with(self, x: Tensor, side: float) -> Tensor:
        whole = math.floor(side)
        smaller = self.function(x, whole)
        return smaller if side == whole else smaller.lerp(self.function(x, whole + 1), side - whole)


@dataclass(frozen=True, kw_only=True)
class Inversion(Transform):
    """Blend with the negative by `amount`."""

    amount: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """`factor` times the amount, (B,)."""
        return (like.new_full((len(like),), self.amount * factor),)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Blend the images."""
        return inversion(x, *parameters)


@dataclass(frozen=True, kw_only=True)
class LowContrast(Transform):
    """Blend with uniform grey: y = ½ + (1 − loss)(x − ½)."""

    loss: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Half of `factor` times the loss, (B,)."""
        return (like.new_full((len(like),), self.loss * factor / 2),)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Blend the images."""
        return inversion(x, *parameters)


@dataclass(frozen=True, kw_only=True)
class SaltAndPepper(Transform):
    """Set a random `fraction` of the pixels to black or white."""

    fraction: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Uniform noise (B, 1, H, W), the same for all channels of a pixel, and `factor` times the fraction, (B,)."""
        uniform = torch.rand((len(like), 1, *like.shape[-2:]), generator=generator, device=like.device)
        return uniform, like.new_full((len(like),), self.fraction * factor)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Set pixels of the images."""
        return salt_and_pepper(x, *parameters)


@dataclass(frozen=True, kw_only=True)
class Gaussian(Transform):
    """Add normal noise of standard deviation `std`, in grey values."""

    std: float

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Standard normal noise of the shape of `like`, and `factor` times the standard deviation, (B,)."""
        normal = torch.randn(like.shape, generator=generator, device=like.device)
        return normal, like.new_full((len(like),), self.std * factor)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Add the noise to the images."""
        return gaussian(x, *parameters)


@dataclass(frozen=True, kw_only=True)
class Flip(Transform):
    """Mirror an image left to right."""

    def draw(self, like: Tensor, factor: float, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Whether to mirror each image (B,): at any strength above 0."""
        return (like.new_full((len(like),), factor > 0, dtype=torch.bool),)

    def apply(self, x: Tensor, *parameters: Tensor) -> Tensor:
        """Mirror the images."""
        return torch.where(parameters[0].view(-1, 1, 1, 1), x.flip(-1), x)


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


@dataclass(frozen=True)
class Drawn:
    """The random numbers of the augmentation of B images by T transforms.

    Attributes:
        hit: (T, B), whether each transform is applied to each image.
        counts: T numbers of images for which there are parameters.
        parameters: of each transform.
    """

    hit: Tensor
    counts: list[int]
    parameters: list[tuple[Tensor, ...]]

    @classmethod
    def together(cls, batches: Sequence[Drawn]) -> Drawn:
        """The random numbers of several batches, as if of one."""
        if len(batches) == 1:
            return batches[0]
        return cls(
            torch.cat([batch.hit for batch in batches], -1),
            [sum(counts) for counts in zip(*(batch.counts for batch in batches), strict=True)],
            [
                tuple(map(torch.cat, zip(*parameters, strict=True)))
                for parameters in zip(*(batch.parameters for batch in batches), strict=True)
            ],
        )


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
        return self.transform(x, [self.draw(x, progress, generator)])

    def draw(self, like: Tensor, progress: float, generator: torch.Generator) -> Drawn:
        """Choose the images to which each transform is applied, and draw their parameters.

        Args:
            like: has the shape (B, C, H, W) of the images.
            progress: of the training, from 0 to 1.
            generator: of the random numbers.
        """
        start, end = self.schedule
        factor = start + (end - start) * progress
        hit = torch.rand(len(self.steps), len(like), generator=generator, device=like.device) < self._probabilities(like.device)
        # Most transforms hit few images. On a GPU, selecting these would force a synchronisation, so there all are computed.
        counts = hit.sum(-1).tolist() if like.device.type == "cpu" else [len(like)] * len(self.steps)
        parameters = [step.draw(like[:count], factor, generator) for step, count in zip(self.steps, counts, strict=True)]
        return Drawn(hit, counts, parameters)

    def transform(self, x: Tensor, draws: Sequence[Drawn]) -> Tensor:
        """Augment the images x (B, C, H, W) of one or several concatenated batches, with the random numbers of each."""
        drawn = Drawn.together(draws)
        if x.device.type != "cpu":
            for step, hits, parameters in zip(self.steps, drawn.hit, drawn.parameters, strict=True):
                x = torch.where(hits.view(-1, 1, 1, 1), step.apply(x, *parameters), x)
            return x
        given = x
        rows = drawn.hit.nonzero()[:, 1].split(drawn.counts)
        for step, hits, parameters in zip(self.steps, rows, drawn.parameters, strict=True):
            if len(hits) == len(x):
                x = step.apply(x, *parameters)
            elif len(hits):
                x = x.clone() if x is given else x
                x.index_copy_(0, hits, step.apply(x[hits], *parameters))
        return x

    @cache  # noqa: B019
    def _probabilities(self, device: torch.device) -> Tensor:
        return torch.tensor([step.probability for step in self.steps], device=device).view(-1, 1)
