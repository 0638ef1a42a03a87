"""What embeddings of images are used for: few labels, retrieval, transfer, the examples that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.config import params
from stages.core.paths import ROOT
from stages.metrics.summary import rounded
from stages.mnist import baseline
from stages.mnist.encoder import probes
from stages.mnist.encoder.embed import with_statistics
from stages.mnist.images.transforms import erosion
from stages.nn.conv import ConvEncoder, as_images

MNIST = params.load(ROOT / "params.yaml").mnist
RNG = np.random.default_rng(0)
LABELS = np.arange(400) % 10
CENTRES = RNG.normal(size=(10, 16)) * 5


def embeddings(labels: np.ndarray, spread: float) -> torch.Tensor:
    noise = np.random.default_rng(1).normal(size=(len(labels), 16))
    return torch.from_numpy((CENTRES[labels] + spread * noise).astype(np.float32))


def accuracy(z: torch.Tensor, counts: list[int], seed: int = 0) -> dict[str, dict[str, float]]:
    return probes.few_labels(z[:300], LABELS[:300], z[300:], LABELS[300:], counts=counts, draws=3, seed=seed)


def test_one_label_a_class_suffices_where_classes_lie_apart() -> None:
    found = accuracy(embeddings(LABELS, 0.1), [10])
    assert found["10"]["mean"] == 1 and len(found["10"]["values"]) == 3


def test_more_labels_help_and_the_draws_differ() -> None:
    found = accuracy(embeddings(LABELS, 5), [10, 200])
    assert found["200"]["mean"] > found["10"]["mean"] and found["10"]["std"] > 0


def test_the_same_draws_serve_every_embedding() -> None:
    z = embeddings(LABELS, 5)
    assert accuracy(z, [10]) == accuracy(z, [10]) != accuracy(z, [10], seed=1)


def test_embeddings_that_know_nothing_are_at_chance() -> None:
    assert accuracy(torch.from_numpy(RNG.normal(size=(400, 16)).astype(np.float32)), [200])["200"]["mean"] < 0.25


def test_the_small_digits_look_like_the_large_ones() -> None:
    images, labels = probes.small_digits()
    assert images.shape == (1797, 28, 28) and images.dtype == np.uint8 and set(labels) == set(range(10))
    assert images[:, :4].max() == images[:, :, -4:].max() == 0 and images.max() == 255
    rows, columns = np.indices((28, 28))
    centre = [(images[labels == 0] * axis).sum() / images[labels == 0].sum() for axis in (rows, columns)]
    assert centre == pytest.approx([13.5, 13.5], abs=1)


def test_transfer_leaves_each_image_out() -> None:
    labels = RNG.integers(10, size=200)
    z = torch.from_numpy(RNG.normal(size=(200, 16)).astype(np.float32))
    found = probes.transfer(embeddings(LABELS, 0.1), torch.from_numpy(LABELS), z, labels, neighbours=1)
    assert found["leave_one_out"].mean() < 0.3  # with itself in the index, one neighbour would know every label
    own = probes.transfer(embeddings(LABELS, 0.1), torch.from_numpy(LABELS), embeddings(labels, 0.1), labels, neighbours=5)
    assert own["from_training"].all() and own["leave_one_out"].all()


def test_the_examples_are_one_query_a_class_and_what_lies_nearest() -> None:
    queries, others = probes.examples(embeddings(LABELS, 0.1), LABELS, 3)
    assert queries.tolist() == list(range(10)) and others.shape == (10, 3)
    assert (LABELS[others] == LABELS[queries][:, None]).all() and not (others == queries[:, None]).any()


def test_the_figures_of_the_uses_are_those_of_their_images() -> None:
    few = {"labels": [10], "label_draws": 2, "retrieval_queries": 40, "neighbours": 3}
    mnist = MNIST.model_copy(update={"evaluation": MNIST.evaluation.model_copy(update=few)})
    digits, digit_labels = embeddings(LABELS[:50], 0.1), LABELS[:50]
    z = embeddings(LABELS, 4)
    figures, by_image = probes.downstream(z, LABELS, z[:90], LABELS[:90], (digits, digit_labels), mnist=mnist, seed=0)
    assert figures["linear_probe"]["accuracy"]["mean"] == pytest.approx(by_image["probe_right"].mean(), rel=1e-5)
    assert figures["retrieval"]["map"]["mean"] == pytest.approx(by_image["average_precision"].mean(), rel=1e-5)
    assert by_image["average_precision"].shape == (40,) and by_image["leave_one_out_right"].shape == (50,)
    alone, of_them = probes.downstream(z, LABELS, z[:90], LABELS[:90], None, mnist=mnist, seed=0)
    assert alone == {key: value for key, value in figures.items() if key != "transfer"}
    assert set(of_them) == {"probe_right", "average_precision"}


def test_an_image_of_which_erosion_leaves_a_twentieth_or_less_is_erased() -> None:
    images = np.zeros((3, 28, 28), dtype=np.uint8)
    images[0, 5:25, 14] = 255  # a stroke of one pixel
    images[1, 5:25, 13:15] = 255  # of two
    images[2, 5:25, 10:20] = 255  # of ten
    square = [erosion(as_images(torch.from_numpy(images)), side) for side in (1, 2, 3)]
    eroded = np.stack([(one * 255).round().to(torch.uint8).squeeze(1).numpy() for one in square])
    assert baseline._erased(images, eroded, [0.0, 0.5, 1.0]) == {"0": 0, "0.5": rounded(1 / 3), "1": rounded(2 / 3)}


@pytest.mark.parametrize(("left", "share"), [(0, 1), (20, 1), (21, 0), (400, 0)])
def test_a_twentieth_of_the_ink_is_the_bound_below_which_an_image_is_erased(left: int, share: float) -> None:
    image = np.full((1, 20, 20), 200, dtype=np.uint8)
    eroded = np.where(np.arange(400).reshape(1, 20, 20) < left, image, 0).astype(np.uint8)
    assert baseline._erased(image, eroded[None], [0.33]) == {"0.33": share}


def test_what_was_black_before_counts_as_erased() -> None:
    black = np.zeros((2, 28, 28), dtype=np.uint8)
    assert baseline._erased(black, black[None], [1.0]) == {"1": 1}


def test_a_settled_encoder_normalises_what_it_sees_and_the_original_is_left_alone() -> None:
    class Method(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = ConvEncoder(channels=[4, 4, 4], dim=6, mixed_precision=False)
            self.embed = self.encoder.forward

    method = Method().eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    images = torch.randint(256, (300, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    settled = with_statistics(method, images, torch.device("cpu"))
    assert all((value == before[key]).all() for key, value in method.state_dict().items())
    convolved = settled.encoder[0](as_images(images))
    assert settled.encoder[1].running_mean.tolist() == pytest.approx(convolved.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert settled.encoder[1].running_var.tolist() == pytest.approx(convolved.var((0, 2, 3)).tolist(), rel=1e-3)
    assert not settled.training
