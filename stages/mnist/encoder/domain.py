"""The domain of images: convolutional networks and random augmentation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from stages.mnist.images.augmentation import Augmentation, make
from stages.mnist.images.lookahead import Lookahead
from stages.nn.conv import ConvEncoder, Predictor
from stages.nn.method import Augment
from stages.nn.noise import NoiseSource


class Images:
    """The networks and the augmentation of methods on images.

    Args:
        side: of the images, in pixels.
        colours: channels of the images, 1 or 3.
        perturbations: the training augmentation, one entry per transform, in their order.
        mixed_precision: whether encoders on a GPU compute in bfloat16.
    """

    def __init__(self, *, side: int, colours: int, perturbations: dict[str, dict[str, Any]], mixed_precision: bool) -> None:
        self.side, self.colours = side, colours
        self.steps = [make(name, settings, side) for name, settings in perturbations.items()]
        self.mixed_precision = mixed_precision

    @property
    def dim(self) -> int:
        """Raises a TypeError: images have no coordinates."""
        raise TypeError("this method works on points, not on images")

    def augmentation(self, *, schedule: tuple[float, float]) -> Augment:
        """The random augmentation; `schedule` is the factor on all strengths at the start and at the end of training."""
        augmentation = Augmentation(self.steps, schedule)

        def augment(x: Tensor, source: NoiseSource) -> Tensor:
            # The noise of a training augments the views of several steps together, with the same result.
            if isinstance(source, Lookahead):
                return source.view(x, augmentation)
            return augmentation(x, source.progress, source.generator)

        return augment

    def encoder(self, *, channels: list[int], dim: int) -> ConvEncoder:
        """A convolutional encoder with `dim` outputs."""
        return ConvEncoder(
            channels=channels, dim=dim, side=self.side, colours=self.colours, mixed_precision=self.mixed_precision
        )

    def predictor(self, *, dim: int, hidden: int) -> Predictor:
        """A network from embeddings to embeddings, with BatchNorm between its two layers."""
        return Predictor(dim=dim, hidden=hidden)

    def mlp(self, **_: Any) -> nn.Module:
        """Raises a TypeError: images have no multilayer perceptron."""
        raise TypeError("this method works on points, not on images")

    def uniform(self, like: Tensor, source: NoiseSource) -> Tensor:
        """Raises a TypeError: images have no box."""
        raise TypeError("this method works on points, not on images")
