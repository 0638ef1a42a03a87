"""Our training step on images against the least that a step can be.

Ours is what stage mnist_train does between two snapshots: batches of an epoch, the random perturbation, the loss, AdamW, the
moving average, the watch over the loss and the curves, by `fit` with the params block of jepa_ema. The bare step has the same
networks, the same optimizer and the same moving average, and takes two fixed random tensors instead of images: what is left is
forward, backward and update.
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

from benchmarks.report import Row, figure
from benchmarks.turns import Side, speedup, take_turns
from stages.config.base import MNIST_PREFIX, Train
from stages.config.params import Params
from stages.methods.jepa_ema import JepaEma
from stages.mnist.encoder.models import untrained
from stages.nn.batches import EpochBatches
from stages.nn.build import configured
from stages.nn.conv import as_images
from stages.nn.ema import follow
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit

NAME = "jepa_ema"
GOAL = 0.85


def method(params: Params) -> JepaEma:
    """The method before its first step, with its networks `encoder`, `predictor` and `target`: the same on all sides."""
    made = untrained(params, NAME)
    if not isinstance(made, JepaEma):
        raise TypeError(f"{NAME} is a {type(made).__name__}")
    return made


def settings(params: Params) -> Train:
    """How the method is trained."""
    return configured(params, MNIST_PREFIX + NAME)[1]


def ours(params: Params, images: Tensor, steps: int, *, trained: JepaEma | None = None, batch_size: int | None = None) -> Side:
    """Seconds a step of the pipeline's training where `images` are; each call goes on training the same networks.

    Args:
        params: say how is trained.
        images: bytes (N, 28, 28).
        steps: of each call.
        trained: in place of the method as it is before its first step.
        batch_size: in place of that of the params.
    """
    train = settings(params)
    train = train.model_copy(update={"batch_size": batch_size or train.batch_size})
    trained = (trained or method(params)).to(images.device)
    generator = torch.Generator(images.device).manual_seed(0)
    batches = map(as_images, EpochBatches(images, batch_size=train.batch_size, generator=generator))
    source = TrainingNoise(generator)
    # As often as the stage logs.
    log_every = max(train.steps // 100, 1)
    return lambda: fitted(trained, batches, NAME, train, source, steps=steps, log_every=log_every) / steps


def fitted(
    trained: Method, batches: Iterator[Tensor], name: str, train: Train, source: TrainingNoise, *, steps: int, log_every: int
) -> float:
    """Seconds that the pipeline's loop takes for so many steps, without snapshots, its lines not printed."""
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
    """The time, once `device` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def bare(params: Params, steps: int, device: torch.device) -> Side:
    """Seconds a step of forward, backward and update alone."""
    trained, train = method(params).to(device).train(), settings(params)
    generator = torch.Generator().manual_seed(0)
    perturbed, clean = torch.rand(2, train.batch_size, 1, 28, 28, generator=generator).to(device)

    def measure() -> float:
        started = now(device)
        optimizer = torch.optim.AdamW(
            trained.parameter_groups(), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
        )
        for _ in range(steps):
            bare_step(trained, optimizer, perturbed, clean)
        return (now(device) - started) / steps

    return measure


def bare_step(trained: JepaEma, optimizer: torch.optim.Optimizer, perturbed: Tensor, clean: Tensor) -> Tensor:
    """One step without perturbation, batching, schedules and logging; returns the loss."""
    prediction = trained.predictor(trained.encoder(perturbed))
    with torch.no_grad():
        target = trained.target(clean)
    loss = 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    follow(trained.target, trained.encoder, trained.decay)
    return loss.detach()


def rows(params: Params, images: Tensor, *, steps: int, turns: int, goal: float | None = GOAL) -> list[Row]:
    """Our step against the bare step, where `images` are."""
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
    """The median as milliseconds a step."""
    return f"{figure(1000 * median(seconds))} ms a step"
