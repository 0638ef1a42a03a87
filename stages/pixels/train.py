"""Stage pixels_train@METHOD: train a score-based method on samples of the mixture, and another one on the images.

Both have the same network, budget and initial weights. The images that are held out for choices are left out. Writes to
models/pixels/ METHOD.mixture.safetensors and METHOD.images.safetensors, and their learning curves to reports/curves/pixels/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.config.params import Params
from stages.core.errors import UserError
from stages.mnist.images.subset import held_out
from stages.nn.batches import EpochBatches
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit
from stages.pipeline import artifacts, files, runner, seeding
from stages.pixels.networks.build import untrained
from stages.pixels.problem import mixture
from stages.pixels.problem.paths import shape_of, weights


def main(params: Params, name: str) -> None:
    """Train the method called `name` on both data sets."""
    seeding.set_up_torch(params.threads)
    images = files.read_arrays(artifacts.data("mnist", "train"))["images"]
    images = images[: len(images) - held_out(len(images), params.mnist.validation_images)]
    rng = np.random.default_rng(seeding.stream(params, "pixels.train"))
    truth, centre = mixture.read()
    points = truth.sample(params.pixels.train_points, rng)
    for data, x in {"mixture": points, "images": mixture.values(images, centre)}.items():
        train(params, name, data, x.astype(np.float32), shape_of(images))


def train(params: Params, name: str, data: str, x: Any, shape: tuple[int, int, int]) -> None:
    """Train a method on vectors x (N, d) and write it."""
    device, settings = seeding.device(params), params.pixels.train
    if settings.batch_size > len(x):
        expected = f"at most {len(x)}, the number of training points"
        raise UserError(f"params.yaml: pixels.train.batch_size: {settings.batch_size} is not accepted: expected {expected}")
    method: Any = untrained(params, name, shape)
    method.to(device)
    shuffle, noise = (
        torch.Generator(device).manual_seed(seeding.stream(params, f"pixels.{data}.{what}")) for what in ("batches", "noise")
    )
    batches = EpochBatches(torch.from_numpy(x).to(device), batch_size=settings.batch_size, generator=shuffle)
    rows = fit(
        method,
        _with_copies(batches),
        name=f"{name}, {data}",
        source=TrainingNoise(noise),
        log_every=max(settings.steps // 100, 1),
        snapshots=[],
        on_snapshot=lambda _: None,
        **settings.model_dump(exclude={"batch_size"}),
    )
    files.write_tensors(weights(name, data), method.state_dict())
    files.write_curves(artifacts.curves("pixels", f"{name}.{data}"), rows)


def _with_copies(batches: EpochBatches) -> Iterator[Tensor]:
    """Batches (1, B, d): methods on points have S copies."""
    return (batch[None] for batch in batches)


if __name__ == "__main__":
    runner.run(main)
