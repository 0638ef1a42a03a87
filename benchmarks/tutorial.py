"""Training time to the target k-NN accuracy, compared with 25 epochs of a plain tutorial loop.

The plain loop takes PIL images from torch's DataLoader with its defaults, in batches of 32. It augments them one by one, by
torchvision's transforms and scipy's morphology, with all augmentations of params.yaml, and trains the same networks by AdamW
with our learning rate and weight decay. Its rate is measured on some batches and extrapolated to 25 epochs. Our time is the
seconds per step times the steps of the committed run, whose accuracy is read from its metrics.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from benchmarks import training, transforms
from benchmarks.images import PILDataset
from benchmarks.report import Row, duration, three_digits
from benchmarks.turns import Side, speedup, take_turns
from stages.config import params as parameters
from stages.config.params import Params
from stages.core import paths
from stages.dag.lock import LOCK, entries
from stages.pipeline import files
from stages.pipeline.lookup import look_up
from stages.results.targets import KNN

EPOCHS = 25
"""Epochs of the plain loop."""
BATCH = 32
"""Batch size of the plain loop."""
GOAL = 20.0
"""Goal of the ratio."""
KNN_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""k-NN metrics of the committed run that must all reach the target."""
METRICS = Path(f"reports/metrics/mnist/{training.NAME}.json")
"""The metrics of the committed run."""


def refusal(metrics: Path = METRICS, lock: Path = LOCK, params: Path = paths.PARAMS) -> str:
    """Why the comparison is refused; empty if the committed run reaches the target accuracy with the present params."""
    if not metrics.exists() or not lock.exists():
        return f"{metrics if lock.exists() else lock} is missing: run `dvc repro` first"
    found = files.read_json(metrics)
    for name in KNN_METRICS:
        value = look_up(found, f"knn.{name}.mean")
        if value is None or value < KNN:
            return f"knn.{name} in {metrics} is {value}, below {KNN}"
    entry = entries(lock).get(f"mnist_train@{training.NAME}", {})
    trained_with = entry.get("params", {}).get(str(paths.PARAMS), {})
    values = parameters.read(params)
    changed = [key for key, value in trained_with.items() if look_up(values, key) != value]
    # The outputs follow the params: without outputs, the params may be truncated.
    if changed or not trained_with or "outs" not in entry:
        return f"params.yaml and {lock} differ in {', '.join(changed) or 'the training'}: run `dvc repro` first"
    return ""


def view(params: Params, *, elastic: bool = True) -> Any:
    """All augmentations in the order of params.yaml, on PIL images as far as possible; `elastic`: with the elastic one."""
    settings = transforms.of(params)
    return v2.Compose(
        [
            transforms.affine(settings),
            *([transforms.elastic(settings)] if elastic else []),
            *transforms.morphology(settings),
            transforms.inversion(settings),
            transforms.to_tensor(),
            transforms.salt_and_pepper(settings),
            transforms.noise(settings),
        ]
    )


class Pairs(PILDataset):
    """The clean image and its augmented view."""

    def __init__(self, images: Tensor, params: Params, *, elastic: bool) -> None:
        clean, augmented = transforms.to_tensor(), view(params, elastic=elastic)
        super().__init__(images, lambda image: (clean(image), augmented(image)))


def theirs(params: Params, images: Tensor, batches: int, *, elastic: bool = True) -> Side:
    """A side: the plain loop's seconds per image, over `batches` batches; `elastic`: with the elastic augmentation."""
    trained, train = training.method(params).train(), training.settings(params)
    feed = DataLoader(Pairs(images, params, elastic=elastic), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(
        [*trained.encoder.parameters(), *trained.predictor.parameters()],
        lr=train.learning_rate,
        weight_decay=train.weight_decay,
    )

    def measure() -> float:
        # The first batch, which also shuffles the epoch, is not timed. An epoch has many more batches than are timed.
        endless = iter(feed)
        next(endless)
        total = 0.0
        started = time.perf_counter()
        for _ in range(batches):
            (clean, augmented), _ = next(endless)
            prediction = trained.predictor(trained.encoder(augmented))
            with torch.no_grad():
                target = trained.target(clean)
            loss = 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for slow, fast in zip(trained.target.parameters(), trained.encoder.parameters(), strict=True):
                    slow.mul_(trained.decay).add_(fast, alpha=1 - trained.decay)
            total += loss.item()  # a tutorial loop prints it after each epoch
        return (time.perf_counter() - started) / (batches * BATCH)

    return measure


def rows(params: Params, images: Tensor, *, steps: int, batches: int, turns: int, reason: str | None = None) -> list[Row]:
    """Our whole training compared with 25 epochs of the plain loop; `reason` to refuse the comparison: default `refusal()`."""
    train = training.settings(params)
    needed = EPOCHS * (params.mnist.train_images - params.mnist.validation_images)
    sides = [theirs(params, images, batches), theirs(params, images, batches, elastic=False)]
    ours, with_elastic, without_elastic = take_turns([training.ours(params, images, steps), *sides], turns)
    whole = [train.steps * s for s in ours]
    reason = refusal() if reason is None else reason

    def row(seconds: list[float], variant: str, goal: float | None, note: str) -> Row:
        plain = [needed * s for s in seconds]
        return Row(
            measured=f"training to k-NN accuracy {KNN}: {train.steps:,} steps of {train.batch_size} images",
            ours=f"refused: {reason}" if reason else duration(median(whole)),
            compared=f"plain tutorial loop{variant}: {EPOCHS} epochs of {needed // EPOCHS:,} images, batch of {BATCH}",
            theirs=f"{duration(median(plain))} at {three_digits(1 / median(seconds))} images/s",
            ratio=None if reason else speedup(whole, plain),
            goal=goal,
            note=note,
        )

    rate = three_digits(train.batch_size / median(ours))
    fewer = three_digits(needed / (train.steps * train.batch_size))
    return [
        row(
            with_elastic,
            "",
            GOAL,
            f"the time of all epochs is extrapolated from {batches} batches per turn; ours has {rate} images/s and "
            f"needs {fewer} times fewer images.",
        ),
        row(
            without_elastic,
            " without the elastic augmentation",
            None,
            "torchvision's ElasticTransform smooths a field of noise for every image and is the slowest of its transforms; "
            "ours has the elastic augmentation in both rows.",
        ),
    ]
