"""Images per second of our training on images, compared with the same method built from lightly.

lightly provides the two views of an image (`MultiViewTransform` over a `LightlyDataset` of PIL images), the loss
(`NegativeCosineSimilarity`), the EMA target (`update_momentum`, `deactivate_requires_grad`) and its schedule; torch's
DataLoader provides the batches. The augmentation has those of our transforms that torchvision provides: affine, elastic,
inversion and Gaussian noise, with the probabilities and strengths of params.yaml. Morphology and salt-and-pepper noise are
missing, so lightly's side does less work. Networks, batch size and optimizer are ours.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from lightly.data import LightlyDataset
from lightly.loss import NegativeCosineSimilarity
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from benchmarks import training, transforms
from benchmarks.images import PILDataset
from benchmarks.report import Row, three_digits
from benchmarks.turns import Side, speedup, take_turns
from stages.config.params import Params


def view(params: Params) -> Any:
    """The augmented view; transforms of PIL images come first, since they are faster than those of tensors."""
    settings = transforms.of(params)
    return v2.Compose(
        [
            transforms.affine(settings),
            transforms.inversion(settings),
            transforms.to_tensor(),
            transforms.elastic(settings),
            transforms.noise(settings),
        ]
    )


def loader(params: Params, images: Tensor, workers: int) -> DataLoader[Any]:
    """Batches of ([clean view, augmented view], label, file name)."""
    both = MultiViewTransform([transforms.to_tensor(), view(params)])
    data = LightlyDataset.from_torch_dataset(PILDataset(images), transform=both, index_to_filename=lambda data, i: str(i))
    size = training.settings(params).batch_size
    return DataLoader(data, batch_size=size, shuffle=True, drop_last=True, num_workers=workers)


def theirs(params: Params, images: Tensor, *, batches: int, workers: int) -> Side:
    """A side: lightly's seconds per image, for loading and training."""
    trained, train = training.method(params).train(), training.settings(params)
    feed = loader(params, images, workers)
    deactivate_requires_grad(trained.target)
    loss_function = NegativeCosineSimilarity()
    optimizer = torch.optim.AdamW(
        trained.parameter_groups(), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
    )

    def step(number: int, views: Sequence[Tensor]) -> None:
        clean, augmented = views
        momentum = cosine_schedule(number, train.steps, trained.decay, 1)
        update_momentum(trained.encoder, trained.target, m=momentum)
        prediction = trained.predictor(trained.encoder(augmented))
        with torch.no_grad():
            target = trained.target(clean)
        loss = loss_function(prediction, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def measure() -> float:
        endless = iter(feed)
        # The batches that the workers prefetch are not timed.
        for number in range(2 * workers + 1):
            step(number, next(endless)[0])
        started = time.perf_counter()
        for number in range(batches):
            step(number, next(endless)[0])
        seconds = time.perf_counter() - started
        # Ends the workers, which would otherwise run while the other side is timed.
        del endless
        return seconds / (batches * train.batch_size)

    return measure


def rows(params: Params, images: Tensor, *, steps: int, batches: int, turns: int, workers: Sequence[int] = (0, 2)) -> list[Row]:
    """Our step compared with lightly's, with the faster of the numbers of workers."""
    size = training.settings(params).batch_size
    sides = [theirs(params, images, batches=batches, workers=count) for count in workers]
    our_seconds, *seconds = take_turns([training.ours(params, images, steps), *sides], turns)
    per_image = [s / size for s in our_seconds]
    fastest = min(range(len(workers)), key=lambda i: median(seconds[i]))
    rates = ", ".join(
        f"{three_digits(1 / median(taken))} with {count} workers" for count, taken in zip(workers, seconds, strict=True)
    )
    return [
        Row(
            measured=f"training on images, {training.NAME}, batch of {size}",
            ours=f"{three_digits(1 / median(per_image))} images/s",
            compared=f"the same method built from lightly, DataLoader with {workers[fastest]} workers",
            theirs=f"{three_digits(1 / median(seconds[fastest]))} images/s",
            ratio=speedup(per_image, seconds[fastest]),
            note=f"lightly's images per second are {rates}; its augmentation is torchvision's RandomAffine, RandomInvert, "
            "ElasticTransform and GaussianNoise, without erosion, dilation and salt-and-pepper noise.",
        )
    ]
