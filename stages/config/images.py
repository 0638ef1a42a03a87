"""Models of the blocks of params.yaml about the images."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stages.config.base import Block, Described, Digest, Names, Train, check_limits, refusal
from stages.config.field_types import Count, Fraction, NonNegative


class MnistEncoder(Described):
    """Layer sizes of a convolutional encoder."""

    channels: Annotated[list[Count], Field(min_length=3, max_length=3)]
    """Output channels of the three convolutions."""
    dim: Annotated[int, Field(ge=2)]
    """Embedding dimension D."""


class MnistView(Described):
    """Augmentation of a view of an image, of the kinds in `mnist_perturbations`."""

    schedule: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    """Factor on the strength of all augmentations at the start and at the end of training, linear between."""


class AffineParams(Described):
    """Params of `augmentation.Affine`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    rotation: Annotated[float, Field(ge=0, le=180)]
    """Largest angle of rotation, ± degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)]
    """Largest relative change of size, ±."""
    shear: Annotated[float, Field(ge=0, lt=90)]
    """Largest shear angle, ± degrees."""
    translation: Annotated[float, Field(ge=0, le=28)]
    """Largest shift along each axis, ± pixels of a 28 × 28 image; like all lengths it grows with the side of the images."""


class ElasticParams(Described):
    """Params of `augmentation.Elastic`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    nodes: Annotated[int, Field(ge=2, le=28)]
    """Nodes per side of the coarse grid."""
    displacement: Annotated[float, Field(ge=0, le=28)]
    """Standard deviation of the displacement of a node, pixels of a 28 × 28 image."""


class MorphologyParams(Described):
    """Params of `augmentation.Morphology`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    side: Annotated[int, Field(ge=1, le=15)]
    """Side of the square, pixels of a 28 × 28 image."""


class InversionParams(Described):
    """Params of `augmentation.Inversion`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    amount: Fraction
    """Factor on the contrast is 1 − 2 · amount: 0.5 is uniform grey, 1 the negative."""


class LowContrastParams(Described):
    """Params of `augmentation.LowContrast`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    loss: Fraction
    """Loss of contrast: 0 is the image itself, 1 uniform grey."""


class SaltAndPepperParams(Described):
    """Params of `augmentation.SaltAndPepper`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    fraction: Fraction
    """Fraction of the pixels that become black or white."""


class GaussianParams(Described):
    """Params of `augmentation.Gaussian`."""

    probability: Fraction
    """Probability that an image is perturbed."""
    std: NonNegative
    """Standard deviation of the noise, in grey values in [0, 1]."""


class FlipParams(Described):
    """Params of `augmentation.Flip`."""

    probability: Fraction
    """Probability that an image is mirrored, left to right."""


class Perturbations(Block):
    """The augmentations of a training view, in order of application."""

    affine: AffineParams
    elastic: ElasticParams
    erosion: MorphologyParams
    dilation: MorphologyParams
    inversion: InversionParams
    salt_and_pepper: SaltAndPepperParams
    gaussian: GaussianParams


LEFT_OUT: Any = None
"""Default of a key that can be left out, but has no empty value."""


class PerturbationsOfDataset(Block):
    """Augmentations that differ from `mnist_perturbations` for one data set."""

    affine: AffineParams = LEFT_OUT
    elastic: ElasticParams = LEFT_OUT
    erosion: MorphologyParams = LEFT_OUT
    dilation: MorphologyParams = LEFT_OUT
    inversion: InversionParams = LEFT_OUT
    salt_and_pepper: SaltAndPepperParams = LEFT_OUT
    gaussian: GaussianParams = LEFT_OUT
    flip: FlipParams = LEFT_OUT


LOCAL_KINDS = ("folder", "images", "npz")
"""Kinds of sources whose location is a path."""


class Source(Described):
    """A source of images."""

    kind: Literal["torchvision", "folder", "images", "npz", "wheel", "sklearn"]
    """Form of the source."""
    location: str
    """Name of a data set of torchvision or scikit-learn; path of a folder or file; or package, name==version."""


Digests = dict[Literal["train_images", "train_labels", "test_images", "test_labels"], Digest]
"""SHA-256 of the arrays of a data set, as uncompressed idx files."""


def is_safe(name: str) -> bool:
    """Whether a class name can be shown in tables, figures and the page: printable, not empty, without markup characters."""
    return bool(name.strip()) and len(name) <= 60 and name.isprintable() and not set(name) & set("<>|`$")


class Dataset(Described):
    """A data set of square grey or colour images in at least two classes."""

    title: Annotated[str, Field(pattern=r"^[^|<>\r\n]+$")]
    """Name in tables, figures and the page."""
    side: Annotated[int, Field(ge=8, le=64)]
    """Height and width of the images, pixels."""
    channels: Literal[1, 3]
    """1 for grey, 3 for colour."""
    perturbations: PerturbationsOfDataset
    """Augmentations of this data set in place of those of the same name in `mnist_perturbations`; {} for none."""
    digits: bool
    """Whether the classes are the digits 0 to 9; if so, transfer to scikit-learn's 8 × 8 digits is measured."""
    sources: Annotated[list[Source], Field(min_length=1)]
    """Tried in this order; the first one whose images have the digests is used."""
    digests: Digests = Field(default_factory=dict)
    """Checksums, SHA-256, of the images and labels as uncompressed idx files; if absent, the first run records them."""
    classes: list[str] = Field(default_factory=list)
    """Class names, in the order of the labels; if absent, those of the source, else the numbers of the classes."""

    @model_validator(mode="after")
    def _complete(self) -> Dataset:
        if len(self.digests) not in (0, 4):
            raise refusal("digests", sorted(self.digests), "the SHA-256 of all four files")
        if self.digits and (self.side, self.channels) != (28, 1):
            raise refusal("digits", self.digits, "false unless the images are grey and 28 pixels wide, as MNIST's are")
        if len(self.classes) == 1 or len(set(self.classes)) < len(self.classes) or not all(map(is_safe, self.classes)):
            raise refusal("classes", self.classes, "at least two different names of up to 60 characters, without < > | ` $")
        return self


class MnistEvaluation(Block):
    """How methods on the images are evaluated."""

    neighbours: Count
    labels: Annotated[list[Count], Field(min_length=1)]
    label_draws: Annotated[int, Field(ge=2)]
    retrieval_queries: Annotated[int, Field(ge=2)]
    robustness_images: Annotated[int, Field(ge=10)]
    strengths: Annotated[list[Fraction], Field(min_length=1)]
    shifts: Annotated[int, Field(ge=0, le=7)]

    @model_validator(mode="after")
    def _ordered(self) -> MnistEvaluation:
        for key in ("strengths", "labels"):
            if sorted(set(getattr(self, key))) != list(getattr(self, key)):
                raise refusal(key, getattr(self, key), "strictly increasing values")
        return self


class Mnist(Block):
    """The images: data set, methods, snapshots of trainings, and evaluation."""

    dataset: str
    datasets: dict[str, Dataset]
    methods: Names
    train_images: Annotated[int, Field(ge=100, le=10_000_000)]
    test_images: Annotated[int, Field(ge=20, le=10_000_000)]
    validation_images: Annotated[int, Field(ge=0)]
    mixed_precision: bool
    snapshots: Annotated[int, Field(ge=2)]
    snapshot_images: Annotated[int, Field(ge=10)]
    evaluation: MnistEvaluation

    @model_validator(mode="after")
    def _consistent(self) -> Mnist:
        if self.dataset not in self.datasets:
            raise refusal("dataset", self.dataset, "one of " + ", ".join(self.datasets))
        for name in self.datasets:
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
                raise refusal("datasets", name, "names of letters, digits, - and _")
        check_limits(self, {"evaluation.neighbours": self.most_trained}, "images")
        return self

    @property
    def most_trained(self) -> int:
        """Largest number of training images that are not held out; of fewer images, at most a third is held out."""
        return self.train_images - min(self.validation_images, self.train_images // 3)

    @property
    def title(self) -> str:
        """Name of the chosen data set in tables, figures and the page."""
        return self.chosen.title

    @property
    def digits(self) -> bool:
        """Whether the classes of the chosen data set are the digits 0 to 9."""
        return self.chosen.digits

    @property
    def chosen(self) -> Dataset:
        """The chosen data set."""
        return self.datasets[self.dataset]


class Severities(Block):
    """The perturbations of the evaluation images, at full strength."""

    affine: AffineParams
    elastic: ElasticParams
    erosion: MorphologyParams
    dilation: MorphologyParams
    low_contrast: LowContrastParams
    inversion: InversionParams
    salt_and_pepper: SaltAndPepperParams
    gaussian: GaussianParams


class Reconstruct(Block):
    """Phase 2: training of a decoder on the encoder of phase 1."""

    methods: Names
    channels: Annotated[int, Field(ge=2, multiple_of=2)]
    encoder: Literal["frozen", "finetuned", "scratch"]
    encoder_learning_rate: Fraction
    pca_components: Count
    train: Train
