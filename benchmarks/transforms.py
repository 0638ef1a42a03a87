"""The augmentations of params.yaml by torchvision and scipy: image by image, on PIL images.

Each has the probability and the strength of params.yaml, so that both sides of a comparison do the same kind of work.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import grey_dilation, grey_erosion
from torch import Tensor
from torchvision.transforms import v2

from stages.config.params import Params
from stages.mnist.images import transforms

SIDE = 28
"""Side of an image, pixels."""
MAX_SIGMA = 5.0
"""The largest σ for smoothing displacements that torchvision accepts for images of this size, pixels."""

Settings = dict[str, dict[str, float]]
"""The settings of each augmentation, by name."""


def of(params: Params) -> Settings:
    """The block `mnist_perturbations`."""
    return params.mnist_perturbations.model_dump()


def affine(settings: Settings) -> Any:
    """Rotation, scale, shear and translation of a PIL image, bilinear."""
    affine = settings["affine"]
    shift = affine["translation"] / SIDE
    made = v2.RandomAffine(
        affine["rotation"],
        translate=(shift, shift),
        scale=(1 - affine["scale"], 1 + affine["scale"]),
        shear=affine["shear"],
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    return _sometimes(made, affine["probability"])


def elastic(settings: Settings) -> Any:
    """A smooth displacement field with the standard deviation of ours.

    It is uniform noise, smoothed by a Gaussian whose σ is half the distance of our nodes.
    """
    bend = settings["elastic"]
    sigma = min((SIDE - 1) / (bend["nodes"] - 1) / 2, MAX_SIGMA)
    # Uniform noise on [−1, 1] has standard deviation 1/√3, after smoothing 1/(√3 · 2σ√π); alpha/2 converts it to pixels.
    alpha = 2 * bend["displacement"] * math.sqrt(3) * 2 * sigma * math.sqrt(math.pi)
    return _sometimes(v2.ElasticTransform(alpha=alpha, sigma=sigma), bend["probability"])


def inversion(settings: Settings) -> Any:
    """The negative of a PIL image."""
    return v2.RandomInvert(settings["inversion"]["probability"])


def noise(settings: Settings) -> Any:
    """Gaussian noise on a tensor, clipped."""
    return _sometimes(v2.GaussianNoise(sigma=settings["gaussian"]["std"]), settings["gaussian"]["probability"])


def morphology(settings: Settings) -> list[Any]:
    """Erosion and dilation of a PIL image by scipy."""
    return [
        _sometimes(v2.Lambda(partial(function, side=int(settings[name]["side"]))), settings[name]["probability"])
        for name, function in (("erosion", eroded), ("dilation", dilated))
    ]


def eroded(image: Image.Image, side: int) -> Image.Image:
    """Grey-scale erosion with a flat square of `side` pixels."""
    return Image.fromarray(grey_erosion(np.asarray(image), size=(side, side)))


def dilated(image: Image.Image, side: int) -> Image.Image:
    """Grey-scale dilation with a flat square of `side` pixels."""
    return Image.fromarray(grey_dilation(np.asarray(image), size=(side, side)))


def salt_and_pepper(settings: Settings) -> Any:
    """Salt-and-pepper noise: a fraction of a tensor's pixels becomes black or white."""
    fraction = settings["salt_and_pepper"]["fraction"]

    def speckled(x: Tensor) -> Tensor:
        return transforms.salt_and_pepper(x, torch.rand(x.shape), fraction)

    return _sometimes(v2.Lambda(speckled), settings["salt_and_pepper"]["probability"])


def to_tensor() -> Any:
    """A PIL image as a float tensor (1, 28, 28) in [0, 1]."""
    return v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])


def _sometimes(transform: Any, probability: float) -> Any:
    return transform if probability >= 1 else v2.RandomApply([transform], p=probability)
