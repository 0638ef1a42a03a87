"""What embeddings of images are used for: few labels, retrieval, transfer, the examples that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.mnist import measure

RNG = np.random.default_rng(0)
LABELS = np.arange(400) % 10
CENTRES = RNG.normal(size=(10, 16)) * 5


def embeddings(labels: np.ndarray, spread: float) -> torch.Tensor:
    noise = np.random.default_rng(1).normal(size=(len(labels), 16))
    return torch.from_numpy((CENTRES[labels] + spread * noise).astype(np.float32))


def accuracy(z: torch.Tensor, counts: list[int], seed: int = 0) -> dict[str, dict[str, float]]:
    return measure.few_labels(z[:300], LABELS[:300], z[300:], LABELS[300:], counts=counts, draws=3, seed=seed)


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
    images, labels = measure.small_digits()
    assert images.shape == (1797, 28, 28) and images.dtype == np.uint8 and set(labels) == set(range(10))
    assert images[:, :4].max() == images[:, :, -4:].max() == 0 and images.max() == 255
    rows, columns = np.indices((28, 28))
    centre = [(images[labels == 0] * axis).sum() / images[labels == 0].sum() for axis in (rows, columns)]
    assert centre == pytest.approx([13.5, 13.5], abs=1)


def test_transfer_leaves_each_image_out() -> None:
    labels = RNG.integers(10, size=200)
    z = torch.from_numpy(RNG.normal(size=(200, 16)).astype(np.float32))
    found = measure.transfer(embeddings(LABELS, 0.1), torch.from_numpy(LABELS), z, labels, neighbours=1)
    assert found["leave_one_out"]["mean"] < 0.3  # with itself in the index, one neighbour would know every label
    own = measure.transfer(embeddings(LABELS, 0.1), torch.from_numpy(LABELS), embeddings(labels, 0.1), labels, neighbours=5)
    assert own["from_mnist"]["mean"] == own["leave_one_out"]["mean"] == 1


def test_the_examples_are_one_query_a_class_and_what_lies_nearest() -> None:
    queries, others = measure.examples(embeddings(LABELS, 0.1), LABELS, 3)
    assert queries.tolist() == list(range(10)) and others.shape == (10, 3)
    assert (LABELS[others] == LABELS[queries][:, None]).all() and not (others == queries[:, None]).any()
