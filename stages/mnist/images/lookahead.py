"""Training noise that augments the images of several steps together.

The augmentation of a small batch consists of many small operations, most of which take little longer for several batches. A
view is a function of the images, the progress of the training and the state of the random generator, and all three are known
in advance: the images from the order of the epoch, the progress from the step, and the state from the draws for the previous
views. The views of several steps are therefore computed together, each with its own random numbers and strength.

This changes no result. After each view the generator has the state that it would have without looking ahead, so a checkpoint
contains no views and a training may resume at any step. If a loss draws other random numbers between its views, their states
are not those that were predicted; these views are discarded, and from then on each view is computed when it is requested.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from stages.mnist.images.augmentation import Augmentation
from stages.nn.batches import EpochBatches
from stages.nn.conv import as_images
from stages.nn.noise import TrainingNoise

PIXELS = 8 * 64 * 28**2
"""Pixel values that are augmented together: eight batches of 64 MNIST images. Twice as many take longer per image."""


@dataclass(frozen=True)
class _View:
    """A view that was computed in advance: its step, its images, and the generator's states before and after its draws."""

    step: int
    augmentation: Augmentation
    images: Tensor
    before: Tensor
    after: Tensor


class Lookahead(TrainingNoise):
    """Fresh noise from one generator; the augmented views of several steps are computed together.

    Args:
        generator: of the random numbers.
        batches: batches of byte images.
        together: number of pixel values that are augmented together, if a single batch is not larger.
    """

    def __init__(self, generator: torch.Generator, batches: EpochBatches, *, together: int = PIXELS) -> None:
        super().__init__(generator)
        self._batches = batches
        # On a GPU, rounding may depend on the number of images, and then a resumed training would end in other bytes.
        self._together = together if generator.device.type == "cpu" else 0
        self._batch = torch.empty(0)
        self._views: deque[_View] = deque()
        self._requested = self._per_step = self.steps = 0

    def images(self) -> Iterator[Tensor]:
        """The batches as float images (B, C, H, W), for the loss that draws from this noise."""
        for batch in self._batches:
            self._batch = as_images(batch)
            yield self._batch

    def advance(self, step: int, steps: int) -> None:
        """Set the current step, from 0 to `steps` − 1."""
        super().advance(step, steps)
        self.steps = steps
        self._requested, self._per_step = 0, self._requested

    def view(self, x: Tensor, augmentation: Augmentation) -> Tensor:
        """A randomly augmented view of the images x (B, C, H, W)."""
        self._requested += 1
        if self._requested == 1 and not self._views:
            self._look_ahead(augmentation)
        if self._views:
            view = self._views.popleft()
            predicted = view.step == self.step and view.augmentation is augmentation and x is self._batch
            if predicted and torch.equal(view.before, self.generator.get_state()):
                self.generator.set_state(view.after)
                return view.images
            self._views.clear()
            self._together = 0
        return augmentation(x, self.progress, self.generator)

    def _look_ahead(self, augmentation: Augmentation) -> None:
        """Compute the views of this and the next steps, as many per step as the loss requested in the previous step."""
        size = self._batch.numel() * self._per_step
        count = min(self._together // size, self.steps - self.step) if size else 0
        if count < 2:
            return
        batches = [self._batch, *map(as_images, self._batches.coming(count - 1))]
        coming = [(step, x) for step, x in enumerate(batches, self.step) for _ in range(self._per_step)]
        states, draws = [self.generator.get_state()], []
        for step, x in coming:
            draws.append(augmentation.draw(x, step / max(self.steps - 1, 1), self.generator))
            states.append(self.generator.get_state())
        self.generator.set_state(states[0])
        views = augmentation.transform(torch.cat([x for _, x in coming]), draws).split(len(self._batch))
        for (step, _), view, (before, after) in zip(coming, views, pairwise(states), strict=True):
            self._views.append(_View(step, augmentation, view, before, after))
