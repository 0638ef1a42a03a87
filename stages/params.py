"""params.yaml as typed, validated values.

One declaration says what is accepted. The whole file is checked before any stage does anything; a mistake is one line that
names the key, the value and what is accepted. `python -m stages.params` checks the file and nothing else.

The block of a method is checked against the signature of the method's class, read from its source (`vocabulary.py`).
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from stages import vocabulary
from stages.errors import InvalidParams, UserError
from stages.vocabulary import Count, Fraction, NonNegative, Positive

FILE = Path("params.yaml")
METHODS = Path(__file__).parent / "methods"
MNIST_PREFIX = "mnist_"

Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Names = Annotated[list[str], Field(min_length=1)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _refusal(key: str, value: Any, expected: str) -> PydanticCustomError:
    return PydanticCustomError("refusal", "expected {expected}", {"key": key, "value": value, "expected": expected})


class Block(BaseModel):
    """A part of params.yaml: no unknown key, no conversion between types, no infinity, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Train(Block):
    """How a method is trained."""

    steps: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    weight_decay: NonNegative
    schedule: Literal["constant", "cosine"]
    warmup: Annotated[int, Field(ge=0)]


class MogEncoder(Block):
    """An encoder of points."""

    width: Count
    depth: Count
    dim: Annotated[int, Field(ge=2)]


class MogMlp(Block):
    """A multilayer perceptron on points."""

    width: Count
    depth: Count


class MogView(Block):
    """A second view of a point."""

    noise: NonNegative


class MnistEncoder(Block):
    """An encoder of images."""

    channels: Annotated[list[Count], Field(min_length=3, max_length=3)]
    dim: Annotated[int, Field(ge=2)]


class MnistView(Block):
    """A second view of an image."""

    schedule: Annotated[list[Fraction], Field(min_length=2, max_length=2)]


POINTS: dict[str, type[Block]] = {"Encoder": MogEncoder, "MaskedEncoder": MogEncoder, "Mlp": MogMlp, "View": MogView}
IMAGES: dict[str, type[Block]] = {"Encoder": MnistEncoder, "View": MnistView}
"""What the words of a method's signature that depend on the world mean in each of the two."""


class Box(Block):
    """The part of the plane that is looked at."""

    x: Pair
    y: Pair

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        for axis in ("x", "y"):
            low, high = getattr(self, axis)
            if low >= high:
                raise _refusal(axis, [low, high], "the lower end before the upper end")
        return self


class MixtureParams(Block):
    """A mixture of Gaussians in the plane and the box it is looked at in."""

    means: Annotated[list[Pair], Field(min_length=1)]
    covariances: list[Annotated[list[Pair], Field(min_length=2, max_length=2)]]
    weights: list[Positive]
    box: Box

    @model_validator(mode="after")
    def _fits(self) -> MixtureParams:
        for name in ("covariances", "weights"):
            if len(getattr(self, name)) != len(self.means):
                raise _refusal(name, getattr(self, name), f"one entry for each of the {len(self.means)} means")
        if not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise _refusal("weights", self.weights, f"numbers with sum 1, not {sum(self.weights):.6g}")
        for index, ((a, b), (c, d)) in enumerate(self.covariances):
            if b != c or a <= 0 or a * d - b * c <= 1e-12 * a * d:
                raise _refusal(f"covariances.{index}", [[a, b], [c, d]], "a symmetric, positive definite matrix")
        return self


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
    view_noise: Positive
    heldout_rounds: Count
    neighbours: Count
    readout_neighbours: Count

    @model_validator(mode="after")
    def _consistent(self) -> Mog:
        if self.preset not in self.presets:
            raise _refusal("preset", self.preset, "one of " + ", ".join(self.presets))
        for key, limit in (
            ("structure_points", self.test_points),
            ("neighbours", min(self.train_points, (self.structure_points - 1) // 2)),
            ("readout_neighbours", self.train_points),
        ):
            if getattr(self, key) > limit:
                raise _refusal(key, getattr(self, key), f"at most {limit} with the points there are")
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


class Dataset(Block):
    """A data set of 28 × 28 images in ten classes, as four idx files."""

    sources: Annotated[list[Source], Field(min_length=1)]
    digests: dict[Literal["train_images", "train_labels", "test_images", "test_labels"], Digest]

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
    validation_images: Annotated[int, Field(ge=10)]
    robustness_images: Annotated[int, Field(ge=10)]
    strengths: Annotated[list[Fraction], Field(min_length=1)]
    neighbours: Count
    snapshots: Annotated[int, Field(ge=2)]
    snapshot_images: Annotated[int, Field(ge=10)]

    @model_validator(mode="after")
    def _consistent(self) -> Mnist:
        if self.dataset not in self.datasets:
            raise _refusal("dataset", self.dataset, "one of " + ", ".join(self.datasets))
        for key, limit in (
            ("validation_images", self.train_images // 2),
            ("robustness_images", self.test_images),
            ("snapshot_images", self.test_images),
            ("neighbours", self.train_images - self.validation_images),
        ):
            if getattr(self, key) > limit:
                raise _refusal(key, getattr(self, key), f"at most {limit} with the images there are")
        if len(set(self.strengths)) < len(self.strengths):
            raise _refusal("strengths", self.strengths, "each strength once")
        return self

    @property
    def chosen(self) -> Dataset:
        """The chosen data set."""
        return self.datasets[self.dataset]


class AffineParams(Block):
    """See `perturbations.Affine`."""

    probability: Fraction
    rotation: Annotated[float, Field(ge=0, le=180)]
    scale: Annotated[float, Field(ge=0, lt=1)]
    shear: Annotated[float, Field(ge=0, lt=90)]
    translation: Annotated[float, Field(ge=0, le=28)]


class MorphologyParams(Block):
    """See `perturbations.Morphology`."""

    probability: Fraction
    size: Annotated[int, Field(ge=1, le=15)]


class InversionParams(Block):
    """See `perturbations.Inversion`."""

    probability: Fraction
    amount: Fraction


class SaltAndPepperParams(Block):
    """See `perturbations.SaltAndPepper`."""

    probability: Fraction
    fraction: Fraction


class GaussianParams(Block):
    """See `perturbations.Gaussian`."""

    probability: Fraction
    std: NonNegative


class Perturbations(Block):
    """The six perturbations of images, applied in this order."""

    affine: AffineParams
    erosion: MorphologyParams
    dilation: MorphologyParams
    inversion: InversionParams
    salt_and_pepper: SaltAndPepperParams
    gaussian: GaussianParams


class Criterion(Block):
    """How a figure of the metrics decides a claim: it has to lie below or above a bound."""

    metric: str
    against: str | None = None
    below: float | None = None
    above: float | None = None
    figure: str
    reason: str

    @model_validator(mode="after")
    def _one_bound(self) -> Criterion:
        if (self.below is None) == (self.above is None):
            raise _refusal("below", self.below, "either below or above")
        return self


class Claims(Block):
    """What is said of the methods on the mixture, and which figures decide it."""

    criteria: dict[str, Annotated[list[Criterion], Field(min_length=1)]]
    stated: dict[str, dict[str, bool]]

    @model_validator(mode="after")
    def _known(self) -> Claims:
        for method, claims in self.stated.items():
            for claim in claims:
                if claim not in self.criteria:
                    raise _refusal(f"stated.{method}", claim, "any of " + ", ".join(self.criteria))
        return self


class Reconstruct(Block):
    """Phase 2: a decoder on top of a trained encoder."""

    channels: Annotated[int, Field(ge=2, multiple_of=2)]
    finetune_encoder: bool
    encoder_learning_rate: Fraction
    pca_components: Annotated[int, Field(ge=1, le=784)]
    train: Train


class Settings(Block):
    """All of params.yaml but for the blocks of the methods."""

    seed: Seed
    seeds: Count
    threads: Annotated[int, Field(ge=1, le=256)]
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

    @model_validator(mode="after")
    def _enough_images(self) -> Settings:
        trained = {key: getattr(self, key) for key in type(self).model_fields if key.startswith(MNIST_PREFIX)}
        left = self.mnist.train_images - self.mnist.validation_images
        for key, block in trained.items():
            if hasattr(block, "train") and block.train.batch_size > left:
                expected = f"at most {left}, the training images that are not held out"
                raise _refusal(f"{key}.train.batch_size", block.train.batch_size, expected)
        if self.mnist_reconstruct.pca_components > self.mnist.train_images:
            expected = f"at most {self.mnist.train_images}, the training images"
            raise _refusal("mnist_reconstruct.pca_components", self.mnist_reconstruct.pca_components, expected)
        return self


class Params(Settings):
    """The whole of params.yaml; the blocks of the methods are in `blocks`."""

    blocks: dict[str, Any]

    def method(self, block: str) -> tuple[dict[str, Any], Train]:
        """The keyword arguments of a method and how to train it, from the block of that name.

        Raises:
            UserError: there is no such block.
        """
        if block not in self.blocks:
            raise UserError(f"{block!r} is no method of params.yaml: expected one of {', '.join(self.blocks)}")
        settings = self.blocks[block].model_dump()
        settings.pop("train")
        return settings, self.blocks[block].train


def load(path: Path = FILE) -> Params:
    """Read and check the whole file.

    Raises:
        InvalidParams: with one line that says what is wrong.
    """
    raw = _read(path)
    points, images = _names(path, raw)
    blocks = {name: _schema(name, POINTS) for name in points}
    blocks |= {MNIST_PREFIX + name: _schema(name, IMAGES) for name in images}
    fields: dict[str, Any] = {name: (model, ...) for name, model in blocks.items()}
    whole = create_model("Whole", __base__=Settings, **fields)
    try:
        checked = whole.model_validate(raw)
    except ValidationError as error:
        # A misspelt key is missing under its right name too: say what was misspelt.
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise InvalidParams(f"{path}: {_explain(details[0], whole)}{more}") from None
    values = {name: getattr(checked, name) for name in Settings.model_fields}
    return Params.model_construct(**values, blocks={name: getattr(checked, name) for name in blocks})


class _Loader(yaml.SafeLoader):
    """YAML as DVC writes and reads it: `1e-05` is a number, and a key may stand only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.YAMLError(f"the key {key.value} stands twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+0123456789.")
)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise InvalidParams(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InvalidParams(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise InvalidParams(f"{path}: expected named keys with values, found {_show(raw)}")
    return raw


def _names(path: Path, raw: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The methods whose blocks are checked, on the mixture and on the images: all that are listed or have a block."""
    images = raw.get("mnist")
    lists = {"methods": raw.get("methods"), "mnist.methods": images.get("methods") if isinstance(images, dict) else None}
    known = sorted(file.stem for file in METHODS.glob("[!_]*.py"))
    for key, names in lists.items():
        if names is None:
            raise InvalidParams(f"{path}: {key}: this key is missing")
        if not isinstance(names, list) or not names:
            raise InvalidParams(f"{path}: {key}: {_show(names)} is not accepted: expected a list of methods")
        fit = [name for name in known if set(POINTS) & _words(name) <= set(IMAGES if "." in key else POINTS)]
        for name in names:
            if name not in fit:
                raise InvalidParams(f"{path}: {key}: {_show(name)} is not accepted: expected any of {', '.join(fit)}")
        if len(set(names)) < len(names):
            raise InvalidParams(f"{path}: {key}: {_show(names)} is not accepted: expected each method once")
    listed = [set(names or []) for names in lists.values()]
    present = {name for name in known if name in raw}, {name for name in known if MNIST_PREFIX + name in raw}
    on_points, on_images = (sorted(a | b) for a, b in zip(listed, present, strict=True))
    return on_points, on_images


def _signature(name: str) -> dict[str, ast.expr]:
    """The keyword arguments of a method's class with their annotations."""
    tree = ast.parse((METHODS / f"{name}.py").read_text(encoding="utf-8"))
    (cls,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Method" for b in node.bases)
    )
    (init,) = (node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    for argument in init.args.kwonlyargs:
        if argument.annotation is None:
            raise TypeError(f"methods/{name}.py: {argument.arg} has no annotation")
    return {argument.arg: argument.annotation for argument in init.args.kwonlyargs if argument.annotation}


def _words(name: str) -> set[str]:
    """The words that a method's signature uses."""
    return {node.id for annotation in _signature(name).values() for node in ast.walk(annotation) if isinstance(node, ast.Name)}


def _schema(name: str, world: dict[str, type[Block]]) -> type[Block]:
    """The model of a method's params block, from the signature of its class and the words of the world."""
    words = {**vars(vocabulary), **world}
    fields: dict[str, Any] = {key: (_type(annotation, words), ...) for key, annotation in _signature(name).items()}
    return create_model(name, __base__=Block, train=(Train, ...), **fields)


def _type(annotation: ast.expr, words: dict[str, Any]) -> Any:
    """The type that an annotation in our own source stands for."""
    return eval(ast.unparse(annotation), {"__builtins__": {}}, words)  # noqa: S307


def _explain(detail: ErrorDetails, model: type[Block]) -> str:
    """One line for the first thing that is wrong."""
    place = [str(part) for part in detail["loc"]]
    if detail["type"] == "missing":
        return f"{'.'.join(place)}: this key is missing"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _keys(model, place[:-1]), n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; expected {', '.join(_keys(model, place[:-1]))}"
        return f"{'.'.join(place)}: {_show(detail['input'])} is not accepted: there is no such key{hint}"
    value, message = detail["input"], detail["msg"]
    if detail["type"] == "refusal":
        place += detail["ctx"]["key"].split(".")
        value = detail["ctx"]["value"]
    message = message[0].lower() + message[1:].replace("Input should be", "expected")
    return f"{'.'.join(place)}: {_show(value)} is not accepted: {message.replace('input should be', 'expected')}"


def _keys(model: type[Block], place: list[str]) -> list[str]:
    """The keys that the block at `place` may have."""
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        blocks = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, Block)]
        if blocks:
            model = blocks[0]
    return list(model.model_fields)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def main() -> int:
    """Check the file that is the first argument, or params.yaml."""
    try:
        load(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
