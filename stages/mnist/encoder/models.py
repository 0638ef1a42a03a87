"""The methods on images, built from params and model files."""

from __future__ import annotations

import torch

from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.mnist.encoder.domain import Images
from stages.nn.build import build, configured
from stages.nn.method import Method
from stages.pipeline import artifacts, files, seeding


def domain(params: Params, *, augments: bool) -> Images:
    """The image domain; models that are only evaluated need no augmentation."""
    dataset = params.mnist.chosen
    return Images(
        side=dataset.side,
        colours=dataset.channels,
        perturbations=params.augmentations if augments else {},
        mixed_precision=params.mnist.mixed_precision,
    )


def untrained(params: Params, name: str, *, augments: bool = False) -> Method:
    """The method called `name` before training; `augments` gives it the training augmentation."""
    settings, _ = configured(params, MNIST_PREFIX + name)
    torch.manual_seed(seeding.stream(params, "mnist.init"))
    return build(name, domain(params, augments=augments), settings)


def trained(params: Params, name: str) -> Method:
    """The method called `name` after phase 1, in evaluation mode."""
    method = untrained(params, name)
    files.load(method, artifacts.weights("mnist", name))
    return method.eval()
