"""What both phases on the images do to train: batches of epochs, one process or several, going on after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.config.base import MNIST_PREFIX, Train
from stages.config.params import Params
from stages.core.paths import ROOT
from stages.mnist.training.checkpoints import FileCheckpoints, key
from stages.mnist.training.launch import Place
from stages.nn.batches import EpochBatches
from stages.nn.build import configured
from stages.nn.conv import ConvEncoder, as_images
from stages.nn.distributed import see_all, shared_loss, synchronise
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit
from stages.pipeline import artifacts, files, seeding

DATA = artifacts.data("mnist", "train")
SHOWN = artifacts.data("mnist", "test")


@dataclass(frozen=True)
class Fitted:
    """What a training gave: the rows of its curves, what was recorded, and what is kept of it until both are written."""

    rows: list[dict[str, float]]
    recorded: list[Tensor]
    checkpoints: FileCheckpoints


def look_across(method: Method) -> None:
    """Prepare a joint-embedding method for several processes: its loss sees the embeddings of the whole batch in each."""
    for module in list(method.modules()):
        if isinstance(module, ConvEncoder):
            synchronise(module)
            see_all(module)


def fit_images(
    method: Method,
    params: Params,
    place: Place,
    *,
    stage: str,
    name: str,
    train: Train,
    settings: Mapping[str, Any],
    snapshots: Sequence[int] = (),
    record: Callable[[], Tensor] | None = None,
) -> Fitted:
    """Train `method` in place on the images that are not held out.

    Args:
        method: prepared for as many processes as there are.
        params: all of params.yaml.
        place: this process's.
        stage: module of the stage in stages/mnist, which names its random streams and its checkpoints.
        name: of the method in params.yaml.
        train: the params block `train`.
        settings: what else of the params decides the training or what is recorded.
        snapshots: the steps before which `record` is called.
        record: what is kept at these snapshots, by the process that writes.

    Returns:
        What the training gave. Its checkpoints are to be removed once that is written.
    """
    images = torch.from_numpy(files.read_arrays(DATA)["images"]).to(place.device)
    # Every process shuffles alike and perturbs its own part in its own way.
    shuffle = torch.Generator(place.device).manual_seed(seeding.stream(params, f"mnist.{stage}.batches"))
    perturb = torch.Generator(place.device).manual_seed(seeding.stream(params, f"mnist.{stage}.{place.rank}"))
    batches = EpochBatches(
        images[: len(images) - params.mnist.validation_images],
        batch_size=train.batch_size,
        generator=shuffle,
        part=place.rank,
        parts=place.count,
    )
    decisive = {
        "seed": params.seed,
        "threads": params.threads,
        "held_out": params.mnist.validation_images,
        "mixed_precision": params.mnist.mixed_precision,
        "perturbations": params.mnist_perturbations.model_dump(),
        "method": configured(params, MNIST_PREFIX + name)[0],
        "train": train.model_dump(),
        "snapshots": list(snapshots),
        **settings,
    }
    recorded: list[Tensor] = []
    checkpoints = FileCheckpoints(
        f"mnist_{stage}.{name}",
        key(ROOT / f"stages/mnist/{stage}.py", name, decisive, _inputs(stage, name), place),
        place,
        generators=[shuffle, perturb],
        batches=batches,
        snapshots=recorded,
    )
    rows = fit(
        method,
        map(as_images, batches),
        name=name if stage == "train" else f"{name}, {stage}",
        source=TrainingNoise(perturb),
        log_every=max(train.steps // 100, 1),
        snapshots=list(snapshots),
        on_snapshot=lambda step: recorded.append(record()) if record and place.writes else None,
        loss=shared_loss(method, some_unused=stage != "train") if place.shared else None,
        checkpoints=checkpoints,
        report=place.writes,
        **train.model_dump(exclude={"batch_size"}),
    )
    return Fitted(rows, recorded, checkpoints)


def _inputs(stage: str, name: str) -> list[Path]:
    """The files that a training starts from, or of which it records something."""
    other = SHOWN if stage == "train" else artifacts.weights("mnist", name)
    return [path for path in (DATA, other) if path.exists()]
