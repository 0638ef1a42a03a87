"""Views that are computed for several steps at once equal those that are computed step by step, to the bit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from stages.config import params
from stages.config.base import MNIST_PREFIX
from stages.core.paths import ROOT
from stages.mnist.decoder.model import Reconstruction
from stages.mnist.encoder.domain import Images
from stages.mnist.images.augmentation import Augmentation
from stages.mnist.images.lookahead import Lookahead
from stages.nn.batches import EpochBatches
from stages.nn.build import build, configured
from stages.nn.conv import Decoder
from stages.nn.distributed import shared_loss
from stages.nn.method import Method
from stages.nn.training import fit

PARAMS = params.load(ROOT / "params.yaml")
BATCH, STEPS = 8, 23
"""The 100 images make 12 batches an epoch, so the training ends in its second epoch."""
METHODS = [*PARAMS.mnist.methods, "decoder"]
"""One view of a batch per step, two views, two views and other random numbers, and phase 2."""


def make(name: str) -> Method:
    """A method on images with a small encoder, whose augmentation becomes stronger from step to step."""
    encoder = "jepa_ema" if name == "decoder" else name
    settings = copy.deepcopy(configured(PARAMS, MNIST_PREFIX + encoder)[0])
    settings |= {"encoder": {"channels": [2, 3, 4], "dim": 6}, "view": {"schedule": [0.1, 1.0]}}
    domain = Images(side=28, colours=1, perturbations=PARAMS.mnist_perturbations.model_dump(), mixed_precision=False)
    torch.manual_seed(0)
    method = build(encoder, domain, settings)
    if name == "decoder":
        augment = domain.augmentation(schedule=(0.1, 1.0))
        return Reconstruction(
            method, Decoder(dim=6, channels=4, side=28, colours=1), augment, encoder_mode="frozen", encoder_scale=1
        )
    return method


def noise(together: int) -> Lookahead:
    """The noise of a training that augments up to `together` images at once."""
    images = torch.randint(256, (100, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    batches = EpochBatches(images, batch_size=BATCH, generator=torch.Generator().manual_seed(2))
    return Lookahead(torch.Generator().manual_seed(3), batches, together=together * 28**2)


def train(method: Method, source: Lookahead, **changes: Any) -> list[dict[str, float]]:
    """Train a method for `STEPS` steps; returns its curves."""
    settings: dict[str, Any] = {
        "name": "method",
        "source": source,
        "steps": STEPS,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "schedule": "cosine",
        "warmup": 2,
        "log_every": 1,
        "snapshots": [],
        "on_snapshot": lambda step: None,
        **changes,
    }
    return fit(method, source.images(), **settings)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images of all calls of `Augmentation.transform`."""
    found: list[int] = []
    transform = Augmentation.transform

    def recorded(self: Augmentation, x: Tensor, draws: Any) -> Tensor:
        found.append(len(x))
        return transform(self, x, draws)

    monkeypatch.setattr(Augmentation, "transform", recorded)
    return found


@pytest.mark.parametrize("together", [2 * BATCH, 3 * BATCH, 6 * BATCH + 5, 1000 * BATCH])
@pytest.mark.parametrize("name", METHODS)
def test_training_is_the_same_for_any_number_of_images_at_once(name: str, together: int, sizes: list[int]) -> None:
    one_by_one, ahead = make(name), make(name)
    alone, source = noise(0), noise(together)
    expected = train(one_by_one, alone)
    assert set(sizes) == {BATCH}
    sizes.clear()
    assert train(ahead, source) == expected
    assert torch.equal(source.generator.get_state(), alone.generator.get_state())
    for value, other in zip(one_by_one.state_dict().values(), ahead.state_dict().values(), strict=True):
        assert torch.equal(value, other)
    # sigreg draws its directions after each pair of views, so only one block was computed in advance, in vain.
    views = 1 if name in ("jepa_ema", "decoder") else 2
    blocks = [size for size in sizes if size > BATCH]
    assert all(size <= together for size in blocks)
    if together < 2 * views * BATCH:
        assert not blocks
    elif name == "sigreg":
        assert len(blocks) == 1
    else:
        assert sum(sizes) == views * STEPS * BATCH and len(blocks) > 1


def test_each_view_has_the_strength_of_its_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    strengths: list[float] = []
    draw = Augmentation.draw

    def recorded(self: Augmentation, like: Tensor, progress: float, generator: torch.Generator) -> Any:
        strengths.append(progress)
        return draw(self, like, progress, generator)

    monkeypatch.setattr(Augmentation, "draw", recorded)
    train(make("jepa_ema"), noise(4 * BATCH))
    assert strengths == [step / (STEPS - 1) for step in range(STEPS)]


def test_number_of_prepared_images_is_bounded() -> None:
    source, method = noise(6 * BATCH), make("contrastive")
    prepared: list[int] = []

    def observed(images: Iterator[Tensor]) -> Iterator[Tensor]:
        for x in images:
            prepared.append(sum(len(view.images) for view in source._views))
            yield x

    source.images = lambda images=source.images: observed(images())  # type: ignore[method-assign,misc]
    train(method, source)
    assert max(prepared) == 4 * BATCH  # three pairs, the first of which the loss has used


class Fickle(Method):
    """Views that cannot be predicted: their number, images or augmentation differ from step to step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        perturbations = PARAMS.mnist_perturbations.model_dump()
        domain = Images(side=28, colours=1, perturbations=perturbations, mixed_precision=False)
        self.augment, self.other = (domain.augmentation(schedule=(strength, 1)) for strength in (0.1, 0.5))
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.kind, self.steps, self.views = kind, 0, list[Tensor]()

    def loss(self, x: Tensor, source: Any) -> dict[str, Tensor]:
        self.steps += 1
        odd = self.steps % 3 == 0
        augment = self.other if odd and self.kind == "augmentation" else self.augment
        count = {"more": 2 + odd, "fewer": 2 - odd}.get(self.kind, 2)
        self.views += [augment(x.flip(-1) if odd and self.kind == "images" else x, source) for _ in range(count)]
        return {"loss": self.weight.square()}


@pytest.mark.parametrize("kind", ["more", "fewer", "images", "augmentation"])
def test_views_are_the_same_if_they_are_not_those_that_were_predicted(kind: str) -> None:
    one_by_one, ahead = Fickle(kind), Fickle(kind)
    train(one_by_one, noise(0))
    train(ahead, noise(8 * BATCH))
    assert len(one_by_one.views) == len(ahead.views)
    assert all(map(torch.equal, one_by_one.views, ahead.views))


def test_processes_that_share_a_batch_look_ahead_too(tmp_path: Path, sizes: list[int]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        method = make("jepa_ema")
        train(method, noise(4 * BATCH), loss=shared_loss(method))
    finally:
        dist.destroy_process_group()
    assert sum(sizes) == STEPS * BATCH and max(sizes) == 4 * BATCH


@pytest.mark.parametrize("parts", [1, 2])
def test_coming_batches_are_the_next_ones_of_the_epoch(parts: int) -> None:
    batches = EpochBatches(
        torch.arange(30), batch_size=BATCH, generator=torch.Generator().manual_seed(0), part=parts - 1, parts=parts
    )
    assert batches.coming(2) == []
    for remaining in (2, 1, 0, 2, 1, 0):
        next(batches)
        coming, state = batches.coming(5), batches.state()
        assert len(coming) == remaining and len(batches.coming(1)) == min(remaining, 1)
        ahead: Callable[[], Tensor] = copy.deepcopy(batches).__next__
        assert all(torch.equal(batch, ahead()) for batch in coming)
        assert state["start"] == batches.state()["start"]
