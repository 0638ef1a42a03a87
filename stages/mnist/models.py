"""The methods of the image world, as its stages build them from params and files."""

from __future__ import annotations

from pathlib import Path

import torch

from stages import files, runtime
from stages.methods import build
from stages.mnist.world import Images
from stages.nn.method import Method
from stages.params import Params
from stages.schema import MNIST_PREFIX

MODELS = Path("models/mnist")


def world(params: Params) -> Images:
    """The image world with the training perturbation."""
    return Images(perturbations=params.mnist_perturbations.model_dump(), mixed_precision=params.mnist.mixed_precision)


def untrained(params: Params, name: str) -> Method:
    """The method called `name` as it is before its first step."""
    settings, _ = params.method(MNIST_PREFIX + name)
    torch.manual_seed(runtime.stream(params, "mnist.init"))
    return build(name, world(params), settings)


def trained(params: Params, name: str) -> Method:
    """The method called `name` after phase 1."""
    method = untrained(params, name)
    files.load(method, MODELS / f"{name}.safetensors")
    return method.eval()
