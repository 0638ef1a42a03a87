"""Training on images, for both phases: epochs of batches, one or several processes, resumption from checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.config.base import MNIST_PREFIX, Train
from stages.config.params import Params
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.mnist.images.lookahead import Lookahead
from stages.mnist.images.subset import held_out
from stages.mnist.training.checkpoints import FileCheckpoints, key
from stages.mnist.training.launch import Worker
from stages.nn.batches import EpochBatches
from stages.nn.build import configured
from stages.nn.conv import ConvEncoder
from stages.nn.distributed import gather_outputs, shared_loss, synchronise
from stages.nn.method import Method
from stages.nn.training import fit
from stages.pipeline import artifacts, files, seeding

DATA = artifacts.data("mnist", "train")
"""The training images."""
SHOWN = artifacts.data("mnist", "test")
"""The test images, the first of which are embedded at each snapshot."""


@dataclass(frozen=True)
class Fitted:
    """The result of a training.

    Attributes:
        rows: of the learning curves.
        recorded: the results of `record`, one per snapshot.
        checkpoints: to be removed when the results are written.
    """

    rows: list[dict[str, float]]
    recorded: list[Tensor]
    checkpoints: FileCheckpoints


def gather_across_processes(method: Method) -> None:
    """Prepare a joint-embedding method for several processes: each computes the loss on the embeddings of the whole batch."""
    for module in list(method.modules()):
        if isinstance(module, ConvEncoder):
            synchronise(module)
            gather_outputs(module)


def fit_images(
    method: Method,
    params: Params,
    worker: Worker,
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
        method: prepared for the number of processes.
        params: all of params.yaml.
        worker: this process.
        stage: module of the stage in stages/mnist; its random streams and checkpoints are named after it.
        name: of the method in params.yaml.
        train: the params block `train`.
        settings: all other params that affect the training or the snapshots.
        snapshots: the steps before which `record` is called.
        record: returns what is stored at a snapshot; called by rank 0 only.
    """
    images = torch.from_numpy(files.read_arrays(DATA)["images"]).to(worker.device)
    # All processes shuffle identically; each augments its part of a batch with its own random stream.
    shuffle = torch.Generator(worker.device).manual_seed(seeding.stream(params, f"mnist.{stage}.batches"))
    perturb = torch.Generator(worker.device).manual_seed(seeding.stream(params, f"mnist.{stage}.{worker.rank}"))
    fitted = images[: len(images) - held_out(len(images), params.mnist.validation_images)]
    if train.batch_size > len(fitted):
        block = "mnist_reconstruct" if stage == "reconstruct" else MNIST_PREFIX + name
        expected = f"at most {len(fitted)}, the training images that are not held out"
        raise UserError(f"params.yaml: {block}.train.batch_size: {train.batch_size} is not accepted: expected {expected}")
    batches = EpochBatches(
        fitted,
        batch_size=train.batch_size,
        generator=shuffle,
        part=worker.rank,
        parts=worker.count,
    )
    determining = {
        "seed": params.seed,
        "threads": params.threads,
        "held_out": params.mnist.validation_images,
        "mixed_precision": params.mnist.mixed_precision,
        "perturbations": params.augmentations,
        "method": configured(params, MNIST_PREFIX + name)[0],
        "train": train.model_dump(),
        "snapshots": list(snapshots),
        **settings,
    }
    recorded: list[Tensor] = []
    checkpoints = FileCheckpoints(
        f"mnist_{stage}.{name}",
        key(ROOT / f"stages/mnist/{stage}.py", name, determining, _inputs(stage, name), worker),
        worker,
        generators=[shuffle, perturb],
        batches=batches,
        snapshots=recorded,
    )
    noise = Lookahead(perturb, batches)
    rows = fit(
        method,
        noise.images(),
        name=name if stage == "train" else f"{name}, {stage}",
        source=noise,
        log_every=max(train.steps // 100, 1),
        snapshots=list(snapshots),
        on_snapshot=lambda step: recorded.append(record()) if record and worker.writes else None,
        loss=shared_loss(method, some_unused=stage != "train") if worker.shared else None,
        checkpoints=checkpoints,
        report=worker.writes,
        **train.model_dump(exclude={"batch_size"}),
    )
    return Fitted(rows, recorded, checkpoints)


def _inputs(stage: str, name: str) -> list[Path]:
    """The files that a training reads."""
    other = SHOWN if stage == "train" else artifacts.weights("mnist", name)
    return [path for path in (DATA, other) if path.exists()]
