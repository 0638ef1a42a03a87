"""The domain of flattened images: score-based methods that work on points in d dimensions work on images with a U-Net."""

from __future__ import annotations

from torch import Tensor

from stages.nn.method import Augment
from stages.nn.noise import NoiseSource
from stages.pixels.networks.unet import UNet


class Pixels:
    """The networks of methods on images (1, B, C · H · W).

    Args:
        shape: C, H and W.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    @property
    def dim(self) -> int:
        """Pixels of an image times channels, d."""
        channels, height, width = self.shape
        return channels * height * width

    def mlp(self, *, inputs: int, outputs: int, patch: int, channels: list[int]) -> UNet:
        """The U-Net in place of a multilayer perceptron; with one input more than pixels it gets the noise level.

        Raises:
            TypeError: the method's network is not one from images to images.
        """
        if outputs != self.dim or inputs not in (self.dim, self.dim + 1):
            raise TypeError("this method has no network from images to images")
        return UNet(shape=self.shape, patch=patch, channels=channels, conditioned=inputs > self.dim)

    def augmentation(self, **_: object) -> Augment:
        """Raises a TypeError: scores have no views."""
        raise TypeError("this method is not score-based")

    def encoder(self, **_: object) -> UNet:
        """Raises a TypeError: scores have no encoder."""
        raise TypeError("this method is not score-based")

    def predictor(self, **_: object) -> UNet:
        """Raises a TypeError: scores have no predictor."""
        raise TypeError("this method is not score-based")

    def uniform(self, like: Tensor, source: NoiseSource) -> Tensor:
        """Raises a TypeError: images have no box."""
        raise TypeError("this method needs a box")
