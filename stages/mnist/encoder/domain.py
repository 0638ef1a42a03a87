"""The domain of images: convolutional networks and random perturbations."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from stages.mnist.images.augmentation import Perturbation, make
from stages.nn.conv import ConvEncoder, Predictor
from stages.nn.method import Augment
from stages.nn.noise import NoiseSource


class Images:
    """The networks and the augmentation of methods on images.

    Args:
        perturbations: the params block `mnist_perturbations`, one entry per perturbation in their order.
        mixed_precision: whether encoders on a GPU compute in bfloat16.
    """

    def __init__(self, *, perturbations: dict[str, dict[str, Any]], mixed_precision: bool) -> None:
        self.steps = [make(name, settings) for name, settings in perturbations.items()]
        self.mixed_precision = mixed_precision

    @property
    def dim(self) -> int:
        """Images have no coordinates."""
        raise TypeError("this method works on points, not on images")

    def augmentation(self, *, schedule: tuple[float, float]) -> Augment:
        """The random perturbation; `schedule` scales all strengths from its first to its second value over training."""
        perturbation = Perturbation(self.steps, schedule)
        return lambda x, source: perturbation(x, source.progress, source.generator)

    def encoder(self, *, channels: list[int], dim: int) -> ConvEncoder:
        """A convolutional encoder with `dim` outputs."""
        return ConvEncoder(channels=channels, dim=dim, mixed_precision=self.mixed_precision)

    def predictor(self, *, dim: int, hidden: int) -> Predictor:
        """A network from embeddings to embeddings, with BatchNorm between its two layers."""
        return Predictor(dim=dim, hidden=hidden)

    def mlp(self, **_: Any) -> nn.Module:
        """Images have no plain multilayer perceptron."""
        raise TypeError("this method works on points, not on images")

    def uniform(self, like: Tensor, source: NoiseSource) -> Tensor:
        """Images have no box."""
        raise TypeError("this method works on points, not on images")
