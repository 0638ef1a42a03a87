"""Our training step on images, compared with a minimal one.

Ours is a step of stage mnist_train between two snapshots: batching, augmentation, loss, AdamW, EMA target, the check for finite
losses and the curves, by `fit` with the params block of jepa_ema. The bare step has the same networks, optimizer and EMA
target, with two fixed random tensors as views: only forward, backward and update remain.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.report import Row, three_digits
from benchmarks.turns import Side, speedup, take_turns
from stages.config.base import MNIST_PREFIX, Train
from stages.config.params import Params
from stages.methods.jepa_ema import JepaEma
from stages.mnist.encoder.models import untrained
from stages.mnist.images.lookahead import Lookahead
from stages.nn.batches import EpochBatches
from stages.nn.build import configured
from stages.nn.ema import follow
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit

NAME = "jepa_ema"
"""The method that is trained."""
GOAL = 0.85
"""Goal of the ratio."""


def method(params: Params) -> JepaEma:
    """The untrained method with its networks `encoder`, `predictor` and `target`, the same for all sides."""
    made = untrained(params, NAME, augments=True)
    if not isinstance(made, JepaEma):
        raise TypeError(f"{NAME} is a {type(made).__name__}")
    return made


def settings(params: Params) -> Train:
    """The method's training settings."""
    return configured(params, MNIST_PREFIX + NAME)[1]


def ours(params: Params, images: Tensor, steps: int, *, trained: JepaEma | None = None, batch_size: int | None = None) -> Side:
    """A side: seconds per step of the pipeline's training, on the device of `images`; each call continues the training.

    Args:
        params: of the pipeline.
        images: bytes (N, 28, 28).
        steps: per call.
        trained: the method to train, by default the untrained one.
        batch_size: by default that of the params.
    """
    train = settings(params)
    train = train.model_copy(update={"batch_size": batch_size or train.batch_size})
    trained = (trained or method(params)).to(images.device)
    generator = torch.Generator(images.device).manual_seed(0)
    source = Lookahead(generator, EpochBatches(images, batch_size=train.batch_size, generator=generator))
    batches = source.images()
    # As in the stage.
    log_every = max(train.steps // 100, 1)
    return lambda: time_fit(trained, batches, NAME, train, source, steps=steps, log_every=log_every) / steps


def time_fit(
    trained: Method, batches: Iterator[Tensor], name: str, train: Train, source: TrainingNoise, *, steps: int, log_every: int
) -> float:
    """Seconds of `steps` steps of the pipeline's training loop, without snapshots and printed lines."""
    common: dict[str, Any] = train.model_dump(exclude={"batch_size", "steps"})
    device = source.generator.device
    with contextlib.redirect_stdout(io.StringIO()):
        started = now(device)
        fit(
            trained,
            batches,
            name=name,
            source=source,
            steps=steps,
            log_every=log_every,
            snapshots=[],
            on_snapshot=lambda step: None,
            **common,
        )
        return now(device) - started


def now(device: torch.device) -> float:
    """The time after all work queued on `device` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def bare(params: Params, steps: int, device: torch.device) -> Side:
    """A side: seconds per bare step."""
    trained, train = method(params).to(device).train(), settings(params)
    generator = torch.Generator().manual_seed(0)
    augmented, clean = torch.rand(2, train.batch_size, 1, 28, 28, generator=generator).to(device)

    def measure() -> float:
        started = now(device)
        optimizer = torch.optim.AdamW(
            trained.parameter_groups(), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
        )
        for _ in range(steps):
            bare_step(trained, optimizer, augmented, clean)
        return (now(device) - started) / steps

    return measure


def bare_step(trained: JepaEma, optimizer: torch.optim.Optimizer, augmented: Tensor, clean: Tensor) -> Tensor:
    """One step without augmentation, batching, schedules and logging; returns the loss."""
    prediction = trained.predictor(trained.encoder(augmented))
    with torch.no_grad():
        target = trained.target(clean)
    loss = 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    follow(trained.target, trained.encoder, trained.decay)
    return loss.detach()


def rows(params: Params, images: Tensor, *, steps: int, turns: int, goal: float | None = GOAL) -> list[Row]:
    """Our step compared with the bare step, on the device of `images`."""
    batch = settings(params).batch_size
    our_seconds, bare_seconds = take_turns([ours(params, images, steps), bare(params, steps, images.device)], turns)
    spread = speedup(our_seconds, bare_seconds)
    return [
        Row(
            measured=f"training step on images, {NAME}, batch of {batch}",
            ours=milliseconds(our_seconds),
            compared="bare step: the same networks, forward, backward and update on fixed tensors",
            theirs=milliseconds(bare_seconds),
            ratio=spread,
            goal=goal,
        )
    ]


def milliseconds(seconds: list[float]) -> str:
    """The median in milliseconds per step."""
    return f"{three_digits(1000 * median(seconds))} ms/step"
