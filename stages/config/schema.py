"""The blocks of params.yaml as typed, validated values: the one declaration of what is accepted.

The block of a method is not among them: it is checked against the signature of the method's class (`params.py`), in the words
of `field_types.py`; what those that depend on the world mean is in `POINTS` and `IMAGES`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.config.base import MNIST_PREFIX, Block, Names, Seed, refusal
from stages.config.field_types import Count
from stages.config.images import Mnist, MnistEncoder, MnistView, Perturbations, Reconstruct, Severities
from stages.config.mixture import Annealed, Collapse, Langevin, Mog, MogEncoder, MogMlp, MogView

POINTS: dict[str, type[Block]] = {"Encoder": MogEncoder, "MaskedEncoder": MogEncoder, "Mlp": MogMlp, "View": MogView}
IMAGES: dict[str, type[Block]] = {"Encoder": MnistEncoder, "View": MnistView}
"""What the words of a method's signature that depend on the world mean in each of the two."""


class Atlas(Block):
    """How much of what the methods learned goes into the page reports/index.html."""

    coarse: Annotated[int, Field(ge=2)]
    moments: Annotated[int, Field(ge=2)]
    points: Count
    reconstructions: Count


class Settings(Block):
    """All of params.yaml but for the blocks of the methods."""

    seed: Seed
    seeds: Count
    threads: Annotated[int, Field(ge=1, le=256)]
    processes: Annotated[int, Field(ge=1, le=1024)]
    device: Literal["auto", "cuda", "mps", "cpu"]
    methods: Names
    collapse: Collapse
    mog: Mog
    langevin: Langevin
    annealed: Annealed
    mnist: Mnist
    mnist_perturbations: Perturbations
    mnist_severity: Severities
    mnist_reconstruct: Reconstruct
    atlas: Atlas

    @model_validator(mode="after")
    def _enough_images(self) -> Settings:
        trained = {key: getattr(self, key) for key in type(self).model_fields if key.startswith(MNIST_PREFIX)}
        left = self.mnist.train_images - self.mnist.validation_images
        for key, block in trained.items():
            if hasattr(block, "train") and block.train.batch_size > left:
                expected = f"at most {left}, the training images that are not held out"
                raise refusal(f"{key}.train.batch_size", block.train.batch_size, expected)
            if hasattr(block, "train") and block.train.batch_size % self.processes:
                raise refusal(f"{key}.train.batch_size", block.train.batch_size, f"a multiple of processes: {self.processes}")
            if hasattr(block, "train") and block.train.batch_size < 2 * self.processes:
                raise refusal(f"{key}.train.batch_size", block.train.batch_size, "at least two images for each process")
        if self.mnist_reconstruct.pca_components > self.mnist.train_images:
            expected = f"at most {self.mnist.train_images}, the training images"
            raise refusal("mnist_reconstruct.pca_components", self.mnist_reconstruct.pca_components, expected)
        for name in self.mnist_reconstruct.methods:
            if name not in self.mnist.methods:
                expected = "any of mnist.methods: " + ", ".join(self.mnist.methods)
                raise refusal("mnist_reconstruct.methods", name, expected)
        return self
