"""The blocks of params.yaml about the images."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.config.base import Block, Described, Digest, Names, Train, limited, refusal
from stages.config.field_types import Count, Fraction, NonNegative


class MnistEncoder(Described):
    """An encoder of images."""

    channels: Annotated[list[Count], Field(min_length=3, max_length=3)]
    """Of the three convolutions."""
    dim: Annotated[int, Field(ge=2)]
    """Embedding dimension D."""


class MnistView(Described):
    """A second view of an image."""

    schedule: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    """Factor on the strengths of all perturbations, at the start and at the end of the training."""


class Source(Block):
    """Where the four idx files may come from."""

    kind: Literal["torchvision", "folder", "wheel"]
    location: str


class Dataset(Described):
    """A data set of 28 × 28 images in ten classes, as four idx files."""

    title: Annotated[str, Field(pattern=r"^[^|<>\r\n]+$")]
    """What tables, pictures and the page call it."""
    digits: bool
    """Whether the classes are the digits 0 to 9, so that embeddings are also transferred to scikit-learn's 8 × 8 digits."""
    sources: Annotated[list[Source], Field(min_length=1)]
    """Tried in this order until one gives files with these digests."""
    digests: dict[Literal["train_images", "train_labels", "test_images", "test_labels"], Digest]
    """The sha256 of each uncompressed idx file."""

    @model_validator(mode="after")
    def _complete(self) -> Dataset:
        if len(self.digests) != 4:
            raise refusal("digests", sorted(self.digests), "the sha256 of all four files")
        return self


class MnistEvaluation(Block):
    """How methods on the images are measured."""

    neighbours: Count
    labels: Annotated[list[Annotated[int, Field(ge=10, multiple_of=10)]], Field(min_length=1)]
    label_draws: Count
    retrieval_queries: Count
    robustness_images: Annotated[int, Field(ge=10)]
    strengths: Annotated[list[Fraction], Field(min_length=1)]
    shifts: Annotated[int, Field(ge=0, le=7)]

    @model_validator(mode="after")
    def _ordered(self) -> MnistEvaluation:
        for key in ("strengths", "labels"):
            if sorted(set(getattr(self, key))) != list(getattr(self, key)):
                raise refusal(key, getattr(self, key), "each value once, the smallest first")
        return self


class Mnist(Block):
    """The images: the data set, and how methods are trained and measured on it."""

    dataset: str
    datasets: dict[str, Dataset]
    methods: Names
    train_images: Annotated[int, Field(ge=100, le=60000)]
    test_images: Annotated[int, Field(ge=20, le=10000)]
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
        limits = {
            "validation_images": self.train_images // 2,
            "snapshot_images": self.test_images,
            "evaluation.robustness_images": self.test_images,
            "evaluation.retrieval_queries": self.test_images,
            "evaluation.neighbours": self.train_images - self.validation_images,
        }
        limited(self, limits, "images")
        if max(self.evaluation.labels) > self.train_images:
            raise refusal("evaluation.labels", self.evaluation.labels, f"at most {self.train_images}, the training images")
        return self

    @property
    def title(self) -> str:
        """What the chosen data set is called."""
        return self.chosen.title

    @property
    def digits(self) -> bool:
        """Whether the classes of the chosen data set are the digits 0 to 9."""
        return self.chosen.digits

    @property
    def chosen(self) -> Dataset:
        """The chosen data set."""
        return self.datasets[self.dataset]


class AffineParams(Described):
    """See `augmentation.Affine`."""

    probability: Fraction
    """That an image is perturbed so."""
    rotation: Annotated[float, Field(ge=0, le=180)]
    """Up to ±, degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)]
    """Up to ±, relative."""
    shear: Annotated[float, Field(ge=0, lt=90)]
    """Up to ±, degrees."""
    translation: Annotated[float, Field(ge=0, le=28)]
    """Up to ±, pixels."""


class ElasticParams(Described):
    """See `augmentation.Elastic`."""

    probability: Fraction
    """That an image is perturbed so."""
    nodes: Annotated[int, Field(ge=2, le=28)]
    """Of the coarse grid, along a side."""
    displacement: Annotated[float, Field(ge=0, le=28)]
    """Standard deviation of that of a node, pixels."""


class MorphologyParams(Described):
    """See `augmentation.Morphology`."""

    probability: Fraction
    """That an image is perturbed so."""
    side: Annotated[int, Field(ge=1, le=15)]
    """Of the square, pixels."""


class InversionParams(Described):
    """See `augmentation.Inversion`."""

    probability: Fraction
    """That an image is perturbed so."""
    amount: Fraction
    """The contrast is 1 − 2 · amount: ½ is uniform grey, 1 the negative."""


class LowContrastParams(Described):
    """See `augmentation.LowContrast`."""

    probability: Fraction
    """That an image is perturbed so."""
    loss: Fraction
    """Of contrast: 0 leaves the image, 1 is uniform grey."""


class SaltAndPepperParams(Described):
    """See `augmentation.SaltAndPepper`."""

    probability: Fraction
    """That an image is perturbed so."""
    fraction: Fraction
    """Of the pixels."""


class GaussianParams(Described):
    """See `augmentation.Gaussian`."""

    probability: Fraction
    """That an image is perturbed so."""
    std: NonNegative
    """Of grey values in [0, 1]."""


class Perturbations(Block):
    """The perturbations of a training view, applied in this order."""

    affine: AffineParams
    elastic: ElasticParams
    erosion: MorphologyParams
    dilation: MorphologyParams
    inversion: InversionParams
    salt_and_pepper: SaltAndPepperParams
    gaussian: GaussianParams


class Severities(Block):
    """The perturbed test sets, each with the settings of its full strength."""

    affine: AffineParams
    elastic: ElasticParams
    erosion: MorphologyParams
    dilation: MorphologyParams
    low_contrast: LowContrastParams
    inversion: InversionParams
    salt_and_pepper: SaltAndPepperParams
    gaussian: GaussianParams


class Reconstruct(Block):
    """Phase 2: a decoder on top of a trained encoder."""

    methods: Names
    channels: Annotated[int, Field(ge=2, multiple_of=2)]
    encoder: Literal["frozen", "finetuned", "scratch"]
    encoder_learning_rate: Fraction
    pca_components: Annotated[int, Field(ge=1, le=784)]
    train: Train
