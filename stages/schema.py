"""The blocks of params.yaml as typed, validated values: the one declaration of what is accepted.

The block of a method is not among them: it is checked against the signature of the method's class (`params.py`), in the words
of `vocabulary.py`; what those that depend on the world mean is in `POINTS` and `IMAGES`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from stages.vocabulary import Count, Fraction, NonNegative, Positive

MNIST_PREFIX = "mnist_"
SINGLE = 2.0**-23
"""The relative step between single-precision numbers, in which the methods see the points."""

Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Names = Annotated[list[str], Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _refusal(key: str, value: Any, expected: str) -> PydanticCustomError:
    return PydanticCustomError("refusal", "expected {expected}", {"key": key, "value": value, "expected": expected})


class Block(BaseModel):
    """A part of params.yaml: no unknown key, no conversion between types, no infinity, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Described(Block):
    """A block whose keys are explained here, for docs/params.md and editors; those of others are in params.yaml."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Train(Described):
    """How a method is trained."""

    steps: Count
    """Optimizer steps."""
    batch_size: Annotated[int, Field(ge=2)]
    """Points or images of a step; of the mixture for each seed."""
    learning_rate: Positive
    """Of AdamW."""
    weight_decay: NonNegative
    """Of AdamW, decoupled."""
    schedule: Literal["constant", "cosine"]
    """Of the learning rate; cosine: half a cosine down to 0."""
    warmup: Annotated[int, Field(ge=0)]
    """Steps of linear rise before that."""


class MogEncoder(Described):
    """An encoder of points."""

    width: Count
    """Hidden units."""
    depth: Count
    """Hidden layers."""
    dim: Annotated[int, Field(ge=2)]
    """Embedding dimension D."""


class MogMlp(Described):
    """A multilayer perceptron on points."""

    width: Count
    """Hidden units."""
    depth: Count
    """Hidden layers."""


class MogView(Described):
    """A second view of a point; without noise there would be no density of it."""

    noise: Positive
    """Standard deviation of the noise, in units of x."""


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


POINTS: dict[str, type[Block]] = {"Encoder": MogEncoder, "MaskedEncoder": MogEncoder, "Mlp": MogMlp, "View": MogView}
IMAGES: dict[str, type[Block]] = {"Encoder": MnistEncoder, "View": MnistView}
"""What the words of a method's signature that depend on the world mean in each of the two."""


class Box(Described):
    """The part of the plane that is looked at."""

    x: Pair
    """Left and right end."""
    y: Pair
    """Lower and upper end."""

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        for axis in ("x", "y"):
            low, high = getattr(self, axis)
            if low >= high:
                raise _refusal(axis, [low, high], "the lower end before the upper end")
        return self


class MixtureParams(Described):
    """A mixture of Gaussians in the plane and the box it is looked at in."""

    means: Annotated[list[Pair], Field(min_length=1)]
    """Of each mode."""
    covariances: list[Annotated[list[Pair], Field(min_length=2, max_length=2)]]
    """Of each mode, symmetric, positive definite and so wide that single precision tells points of the mode apart."""
    weights: list[Positive]
    """Of each mode, with sum 1."""
    box: Box

    @model_validator(mode="after")
    def _fits(self) -> MixtureParams:
        for name in ("covariances", "weights"):
            if len(getattr(self, name)) != len(self.means):
                raise _refusal(name, getattr(self, name), f"one entry for each of the {len(self.means)} means")
        if not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise _refusal("weights", self.weights, f"numbers with sum 1, not {sum(self.weights):.6g}")
        farthest, where = self._farthest()
        for index, ((a, b), (c, d)) in enumerate(self.covariances):
            if b != c or a <= 0 or a * d - b * c <= 1e-12 * a * d:
                raise _refusal(f"covariances.{index}", [[a, b], [c, d]], "a symmetric, positive definite matrix")
            largest = (a + d) / 2 + math.hypot((a - d) / 2, b)
            if math.sqrt((a * d - b * c) / largest) < SINGLE * farthest:
                width, why = f"{SINGLE * farthest:.2g}", f"since {where} reaches as far as {farthest:.2g}"
                raise _refusal(f"covariances.{index}", [[a, b], [c, d]], f"a mode at least {width} wide everywhere, {why}")
        return self

    def _farthest(self) -> tuple[float, str]:
        """The largest coordinate and the key that it stands under."""
        coordinates = {"box.x": self.box.x, "box.y": self.box.y, "means": [one for mean in self.means for one in mean]}
        return max((max(map(abs, values)), key) for key, values in coordinates.items())


def _limited(block: Block, limits: dict[str, int], what: str) -> None:
    """Refuse a number of the block that is above its limit."""
    for key, limit in limits.items():
        if getattr(block, key) > limit:
            raise _refusal(key, getattr(block, key), f"at most {limit} with the {what} there are")


class Collapse(Block):
    """Below which of two figures an embedding counts as collapsed."""

    variance_ratio: Positive
    normalised_std: Positive


class Mog(Block):
    """The mixture world and how everything on it is evaluated."""

    preset: str
    presets: dict[str, MixtureParams]
    train_points: Annotated[int, Field(ge=2)]
    test_points: Annotated[int, Field(ge=10)]
    grid: Annotated[int, Field(ge=10)]
    reference: Pair
    walk_points: Annotated[int, Field(ge=2)]
    snapshots: Annotated[int, Field(ge=2)]
    structure_points: Annotated[int, Field(ge=30)]
    score_points: Count
    denoising_draws: Count
    view_noise: Positive
    heldout_rounds: Count
    neighbours: Count
    readout_neighbours: Count

    @model_validator(mode="after")
    def _consistent(self) -> Mog:
        if self.preset not in self.presets:
            raise _refusal("preset", self.preset, "one of " + ", ".join(self.presets))
        limits = {
            "structure_points": self.test_points,
            "neighbours": min(self.train_points, (self.structure_points - 1) // 2),
            "readout_neighbours": self.train_points,
        }
        _limited(self, limits, "points")
        return self

    @property
    def mixture(self) -> MixtureParams:
        """The chosen preset."""
        return self.presets[self.preset]


class Langevin(Block):
    """How a score method is made to sample."""

    particles: Annotated[int, Field(ge=2)]
    steps: Count
    step_size: Positive
    frames: Annotated[int, Field(ge=2)]


class Annealed(Block):
    """How a method with a ladder of noise levels is made to sample."""

    particles: Annotated[int, Field(ge=2)]
    steps: Count
    step_ratio: Positive
    frames: Annotated[int, Field(ge=2)]


class Source(Block):
    """Where the four idx files may come from."""

    kind: Literal["torchvision", "folder", "wheel"]
    location: str


class Dataset(Described):
    """A data set of 28 × 28 images in ten classes, as four idx files."""

    sources: Annotated[list[Source], Field(min_length=1)]
    """Tried in this order until one gives files with these digests."""
    digests: dict[Literal["train_images", "train_labels", "test_images", "test_labels"], Digest]
    """The sha256 of each uncompressed idx file."""

    @model_validator(mode="after")
    def _complete(self) -> Dataset:
        if len(self.digests) != 4:
            raise _refusal("digests", sorted(self.digests), "the sha256 of all four files")
        return self


class Mnist(Block):
    """The image world and how everything on it is evaluated."""

    dataset: str
    datasets: dict[str, Dataset]
    methods: Names
    train_images: Annotated[int, Field(ge=100, le=60000)]
    test_images: Annotated[int, Field(ge=20, le=10000)]
    validation_images: Annotated[int, Field(ge=0)]
    shifts: Annotated[int, Field(ge=0, le=7)]
    mixed_precision: bool
    robustness_images: Annotated[int, Field(ge=10)]
    strengths: Annotated[list[Fraction], Field(min_length=1)]
    neighbours: Count
    labels: Annotated[list[Annotated[int, Field(ge=10, multiple_of=10)]], Field(min_length=1)]
    label_draws: Count
    retrieval_queries: Count
    snapshots: Annotated[int, Field(ge=2)]
    snapshot_images: Annotated[int, Field(ge=10)]

    @model_validator(mode="after")
    def _consistent(self) -> Mnist:
        if self.dataset not in self.datasets:
            raise _refusal("dataset", self.dataset, "one of " + ", ".join(self.datasets))
        limits = {
            "validation_images": self.train_images // 2,
            "robustness_images": self.test_images,
            "snapshot_images": self.test_images,
            "retrieval_queries": self.test_images,
            "neighbours": self.train_images - self.validation_images,
        }
        _limited(self, limits, "images")
        for key in ("strengths", "labels"):
            if sorted(set(getattr(self, key))) != list(getattr(self, key)):
                raise _refusal(key, getattr(self, key), "each value once, the smallest first")
        if max(self.labels) > self.train_images:
            raise _refusal("labels", self.labels, f"at most {self.train_images}, the training images")
        return self

    @property
    def chosen(self) -> Dataset:
        """The chosen data set."""
        return self.datasets[self.dataset]


class AffineParams(Described):
    """See `perturbations.Affine`."""

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
    """See `perturbations.Elastic`."""

    probability: Fraction
    """That an image is perturbed so."""
    nodes: Annotated[int, Field(ge=2, le=28)]
    """Of the coarse grid, along a side."""
    displacement: Annotated[float, Field(ge=0, le=28)]
    """Standard deviation of that of a node, pixels."""


class MorphologyParams(Described):
    """See `perturbations.Morphology`."""

    probability: Fraction
    """That an image is perturbed so."""
    side: Annotated[int, Field(ge=1, le=15)]
    """Of the square, pixels."""


class InversionParams(Described):
    """See `perturbations.Inversion`."""

    probability: Fraction
    """That an image is perturbed so."""
    amount: Fraction
    """The contrast is 1 − 2 · amount: ½ is uniform grey, 1 the negative."""


class SaltAndPepperParams(Described):
    """See `perturbations.SaltAndPepper`."""

    probability: Fraction
    """That an image is perturbed so."""
    fraction: Fraction
    """Of the pixels."""


class GaussianParams(Described):
    """See `perturbations.Gaussian`."""

    probability: Fraction
    """That an image is perturbed so."""
    std: NonNegative
    """Of grey values in [0, 1]."""


class Perturbations(Block):
    """The perturbations of images, applied in this order."""

    affine: AffineParams
    elastic: ElasticParams
    erosion: MorphologyParams
    dilation: MorphologyParams
    inversion: InversionParams
    salt_and_pepper: SaltAndPepperParams
    gaussian: GaussianParams


class Criterion(Block):
    """How a measured figure decides a claim: it has to lie below or above a bound.

    The figure is `metric`, less `against` where that is given. It is the method's own, or that of one cell of a study; there
    `against_cell` gives the settings of the cell whose figure is subtracted. `relative` divides the difference by what was
    subtracted. `statistic` says whether each seed's value counts or how much the seeds differ. The criterion is for methods
    whose figures in `needs` lie above these bounds. Where the metric `unless` is true it is not met, whatever the figure.
    """

    metric: str
    against: str | None = None
    study: str | None = None
    cell: dict[str, Any] = {}
    against_cell: dict[str, Any] = {}
    relative: bool = False
    needs: dict[str, float] = {}
    statistic: Literal["values", "std"] = "values"
    unless: str | None = None
    below: float | None = None
    above: float | None = None
    figure: str
    reason: str

    @model_validator(mode="after")
    def _one_bound(self) -> Criterion:
        if (self.below is None) == (self.above is None):
            raise _refusal("below", self.below, "either below or above")
        if bool(self.study) != bool(self.cell):
            raise _refusal("study", self.study, "the name of a study where there is a cell, and none where there is none")
        return self


class Claim(Described):
    """What can be said of a method, in words, and what decides it: the first criterion whose figure there is."""

    statement: str
    """What is said, in words."""
    decided_by: Annotated[list[Criterion], Field(min_length=1)]
    """Criteria, of which the first one counts whose figure the method has."""


class Claims(Described):
    """What is said of the methods on the mixture, and which figures decide it.

    `stated`: of which method it is said that the criterion of which claim is met; `words`: where that is not said by yes or no.
    """

    criteria: dict[str, Claim]
    stated: dict[str, dict[str, bool]]
    """Whether it is said of the method that the claim is met."""
    words: dict[str, dict[str, str]]
    """How that is said where it is not by yes or no."""

    @model_validator(mode="after")
    def _known(self) -> Claims:
        for method, claims in self.stated.items():
            for claim in claims:
                if claim not in self.criteria:
                    raise _refusal(f"stated.{method}.{claim}", claim, "any of claims.criteria: " + ", ".join(self.criteria))
        for method, words in self.words.items():
            for claim in words:
                stated = self.stated.get(method, {})
                if claim not in stated:
                    raise _refusal(f"words.{method}.{claim}", claim, f"any of claims.stated.{method}: " + ", ".join(stated))
        return self


class Reconstruct(Block):
    """Phase 2: a decoder on top of a trained encoder."""

    methods: Names
    channels: Annotated[int, Field(ge=2, multiple_of=2)]
    encoder: Literal["frozen", "finetuned", "scratch"]
    encoder_learning_rate: Fraction
    pca_components: Annotated[int, Field(ge=1, le=784)]
    train: Train


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
    claims: Claims
    langevin: Langevin
    annealed: Annealed
    mnist: Mnist
    mnist_perturbations: Perturbations
    mnist_severity: Perturbations
    mnist_reconstruct: Reconstruct
    atlas: Atlas

    @model_validator(mode="after")
    def _enough_images(self) -> Settings:
        trained = {key: getattr(self, key) for key in type(self).model_fields if key.startswith(MNIST_PREFIX)}
        left = self.mnist.train_images - self.mnist.validation_images
        for key, block in trained.items():
            if hasattr(block, "train") and block.train.batch_size > left:
                expected = f"at most {left}, the training images that are not held out"
                raise _refusal(f"{key}.train.batch_size", block.train.batch_size, expected)
            if hasattr(block, "train") and block.train.batch_size % self.processes:
                raise _refusal(f"{key}.train.batch_size", block.train.batch_size, f"a multiple of processes: {self.processes}")
            if hasattr(block, "train") and block.train.batch_size < 2 * self.processes:
                raise _refusal(f"{key}.train.batch_size", block.train.batch_size, "at least two images for each process")
        if self.mnist_reconstruct.pca_components > self.mnist.train_images:
            expected = f"at most {self.mnist.train_images}, the training images"
            raise _refusal("mnist_reconstruct.pca_components", self.mnist_reconstruct.pca_components, expected)
        for name in self.mnist_reconstruct.methods:
            if name not in self.mnist.methods:
                expected = "any of mnist.methods: " + ", ".join(self.mnist.methods)
                raise _refusal("mnist_reconstruct.methods", name, expected)
        return self
