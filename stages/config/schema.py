"""Model of params.yaml without the blocks of methods, whose schema is the signature of the method's class."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stages.config.base import Block, Names, Seed, refusal
from stages.config.field_types import Count
from stages.config.images import Mnist, MnistEncoder, MnistView, Perturbations, Reconstruct, Severities
from stages.config.mixture import Annealed, Collapse, Langevin, Mog, MogEncoder, MogMlp, MogView
from stages.config.pixels import Pixels

POINTS: dict[str, type[Block]] = {"Encoder": MogEncoder, "MaskedEncoder": MogEncoder, "Mlp": MogMlp, "View": MogView}
"""Models of the blocks that a domain defines (`field_types.OfDomain`), for the mixture."""
IMAGES: dict[str, type[Block]] = {"Encoder": MnistEncoder, "View": MnistView}
"""Models of the blocks that a domain defines, for the images."""


class Page(Block):
    """Amount of data in the page reports/index.html."""

    coarse: Annotated[int, Field(ge=2)]
    snapshots: Annotated[int, Field(ge=2)]
    points: Count
    reconstructions: Count


class Settings(Block):
    """All of params.yaml except the blocks of the methods."""

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
    pixels: Pixels
    page: Page

    @property
    def augmentations(self) -> dict[str, dict[str, Any]]:
        """The augmentations of a training view of the chosen data set, in order of application."""
        return self.mnist_perturbations.model_dump() | self.mnist.chosen.perturbations.model_dump(exclude_unset=True)

    def accepted_batch(self, size: int) -> str | None:
        """The accepted batch sizes, in words, if batches of `size` images are not possible; else None."""
        left = self.mnist.most_trained
        if size > left:
            return f"at most {left}, the training images that are not held out"
        if size % self.processes:
            return f"a multiple of processes: {self.processes}"
        return "at least two images for each process" if size < 2 * self.processes else None

    @model_validator(mode="after")
    def _enough_images(self) -> Settings:
        if expected := self.accepted_batch(size := self.mnist_reconstruct.train.batch_size):
            raise refusal("mnist_reconstruct.train.batch_size", size, expected)
        for name in self.mnist_reconstruct.methods:
            if name not in self.mnist.methods:
                expected = "any of mnist.methods: " + ", ".join(self.mnist.methods)
                raise refusal("mnist_reconstruct.methods", name, expected)
        return self
