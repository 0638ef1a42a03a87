"""The time to the k-NN accuracy to beat, against 25 epochs of the method as a tutorial writes it.

The plain loop takes PIL images from torch's DataLoader as it is by default, in batches of 32. It perturbs them one by one, by
torchvision's transforms with scipy's morphology in between, with all perturbations of params.yaml, and trains the same networks
by AdamW with our learning rate and weight decay. Its rate is measured on a part and says how long 25 epochs take. Our time is
the seconds of a step times the steps of the committed run, whose figures are read from its metrics.
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
from benchmarks.report import Row, duration, figure
from benchmarks.turns import Side, speedup, take_turns
from stages.config import params as parameters
from stages.config.params import Params
from stages.core import paths
from stages.dag.lock import LOCK, entries
from stages.pipeline import files
from stages.pipeline.lookup import look_up
from stages.results.targets import KNN

EPOCHS = 25
BATCH = 32
GOAL = 20.0
FIGURES = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""All of them have to reach the goal."""
METRICS = Path(f"reports/metrics/mnist/{training.NAME}.json")


def refusal(metrics: Path = METRICS, lock: Path = LOCK, params: Path = paths.PARAMS) -> str:
    """Why the committed run says nothing of how long the accuracy takes with the params as they are; empty if it does."""
    if not metrics.exists() or not lock.exists():
        return f"{metrics if lock.exists() else lock} is missing: `dvc repro` makes it"
    found = files.read_json(metrics)
    for name in FIGURES:
        value = look_up(found, f"knn.{name}.mean")
        if value is None or value < KNN:
            return f"knn.{name} in {metrics} is {value}, below {KNN}"
    entry = entries(lock).get(f"mnist_train@{training.NAME}", {})
    trained_with = entry.get("params", {}).get(str(paths.PARAMS), {})
    values = parameters.read(params)
    changed = [key for key, value in trained_with.items() if look_up(values, key) != value]
    # Outputs stand behind the params, which may have been cut off.
    if changed or not trained_with or "outs" not in entry:
        return f"params.yaml and {lock} differ in {', '.join(changed) or 'the training'}: `dvc repro` first"
    return ""


def view(params: Params, *, bent: bool = True) -> Any:
    """All perturbations in the order of params.yaml, on PIL images as long as they can be; `bent`: with the elastic one."""
    settings = transforms.of(params)
    return v2.Compose(
        [
            transforms.affine(settings),
            *([transforms.elastic(settings)] if bent else []),
            *transforms.morphology(settings),
            transforms.inversion(settings),
            transforms.to_tensor(),
            transforms.salt_and_pepper(settings),
            transforms.noise(settings),
        ]
    )


class Pairs(PILDataset):
    """The clean image and its perturbed view."""

    def __init__(self, images: Tensor, params: Params, *, bent: bool) -> None:
        clean, perturbed = transforms.to_tensor(), view(params, bent=bent)
        super().__init__(images, lambda image: (clean(image), perturbed(image)))


def theirs(params: Params, images: Tensor, batches: int, *, bent: bool = True) -> Side:
    """Seconds an image of the plain loop, over so many batches; `bent`: with the elastic perturbation."""
    trained, train = training.method(params).train(), training.settings(params)
    feed = DataLoader(Pairs(images, params, bent=bent), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(
        [*trained.encoder.parameters(), *trained.predictor.parameters()],
        lr=train.learning_rate,
        weight_decay=train.weight_decay,
    )

    def measure() -> float:
        # The order of the epoch is drawn for the first batch, and an epoch has many more than are timed.
        endless = iter(feed)
        next(endless)
        total = 0.0
        started = time.perf_counter()
        for _ in range(batches):
            (clean, perturbed), _ = next(endless)
            prediction = trained.predictor(trained.encoder(perturbed))
            with torch.no_grad():
                target = trained.target(clean)
            loss = 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for slow, fast in zip(trained.target.parameters(), trained.encoder.parameters(), strict=True):
                    slow.mul_(trained.decay).add_(fast, alpha=1 - trained.decay)
            total += loss.item()  # what such a loop prints after an epoch
        return (time.perf_counter() - started) / (batches * BATCH)

    return measure


def rows(params: Params, images: Tensor, *, steps: int, batches: int, turns: int, reason: str | None = None) -> list[Row]:
    """Our whole training against 25 epochs of the plain loop; `reason` not to compare them comes from `refusal`."""
    train = training.settings(params)
    needed = EPOCHS * (params.mnist.train_images - params.mnist.validation_images)
    sides = [theirs(params, images, batches), theirs(params, images, batches, bent=False)]
    ours, bent, straight = take_turns([training.ours(params, images, steps), *sides], turns)
    whole = [train.steps * s for s in ours]
    reason = refusal() if reason is None else reason

    def row(seconds: list[float], words: str, goal: float | None, note: str) -> Row:
        plain = [needed * s for s in seconds]
        return Row(
            measured=f"training to k-NN {KNN}: {train.steps:,} steps of {train.batch_size} images",
            ours=f"refused: {reason}" if reason else duration(median(whole)),
            compared=f"plain tutorial loop{words}: {EPOCHS} epochs of {needed // EPOCHS:,} images, batch of {BATCH}",
            theirs=f"{duration(median(plain))} at {figure(1 / median(seconds))} images/s",
            ratio=None if reason else speedup(whole, plain),
            goal=goal,
            note=note,
        )

    rate = figure(train.batch_size / median(ours))
    fewer = figure(needed / (train.steps * train.batch_size))
    return [
        row(
            bent,
            "",
            GOAL,
            f"a rate on {batches} batches a turn, from which the time of all epochs follows; ours has {rate} images/s and "
            f"needs {fewer} times fewer images.",
        ),
        row(
            straight,
            " without the elastic perturbation",
            None,
            "torchvision's ElasticTransform smooths a field of noise for every image and is the slowest of its transforms; "
            "ours has the elastic perturbation on both rows.",
        ),
    ]
