"""Downstream tasks of embeddings of images: few labels, retrieval, transfer, robustness, examples of neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.config import params
from stages.core.paths import ROOT
from stages.metrics.summary import fraction, rounded
from stages.mnist.encoder import probes
from stages.mnist.encoder.embed import with_statistics
from stages.mnist.images.subset import evenly, held_out
from stages.nn.conv import ConvEncoder, as_images

MNIST = params.load(ROOT / "params.yaml").mnist
RNG = np.random.default_rng(0)
LABELS = np.arange(400) % 10
CENTRES = RNG.normal(size=(10, 16)) * 5


def embeddings(labels: np.ndarray, spread: float) -> torch.Tensor:
    """Embeddings around the centres of their classes, with `spread` as the standard deviation of a class."""
    noise = np.random.default_rng(1).normal(size=(len(labels), 16))
    return torch.from_numpy((CENTRES[labels] + spread * noise).astype(np.float32))


def accuracy(z: torch.Tensor, counts: list[int], seed: int = 0) -> dict[str, dict[str, float]]:
    """Accuracy with few labels, by their number, on three random subsets of labelled embeddings."""
    return probes.few_labels(z[:300], LABELS[:300], z[300:], LABELS[300:], counts=counts, draws=3, seed=seed)


def test_one_label_per_class_suffices_if_classes_are_separated() -> None:
    found = accuracy(embeddings(LABELS, 0.1), [10])
    assert found["10"]["mean"] == 1 and len(found["10"]["values"]) == 3


def test_more_labels_raise_accuracy_and_labelled_subsets_differ() -> None:
    found = accuracy(embeddings(LABELS, 5), [10, 200])
    assert found["200"]["mean"] > found["10"]["mean"] and found["10"]["std"] > 0


def test_labelled_subsets_are_reproducible_and_depend_on_the_seed() -> None:
    z = embeddings(LABELS, 5)
    assert accuracy(z, [10]) == accuracy(z, [10]) != accuracy(z, [10], seed=1)


def test_counts_of_labels_lie_between_the_classes_and_the_training_images() -> None:
    labels = np.arange(90) % 30
    z = torch.from_numpy(np.eye(30, dtype=np.float32)[labels])
    found = probes.few_labels(z, labels, z, labels, counts=[10, 50, 60, 1000], draws=2, seed=0)
    assert list(found) == ["30", "60", "90"] and found["30"]["mean"] == 1


def test_held_out_images_are_at_most_a_third_and_all_images_are_used_if_there_are_fewer() -> None:
    assert (held_out(60_000, 5000), held_out(300, 5000), held_out(2, 5)) == (5000, 100, 0)
    assert evenly(5, 3).tolist() == [0, 1, 3] and evenly(3, 10).tolist() == [0, 1, 2]


def test_random_embeddings_have_accuracy_near_chance() -> None:
    assert accuracy(torch.from_numpy(RNG.normal(size=(400, 16)).astype(np.float32)), [200])["200"]["mean"] < 0.25


def test_small_digits_have_the_size_margin_and_centre_of_mnist() -> None:
    images, labels = probes.small_digits()
    assert images.shape == (1797, 28, 28) and images.dtype == np.uint8 and set(labels) == set(range(10))
    assert images[:, :4].max() == images[:, :, -4:].max() == 0 and images.max() == 255
    rows, columns = np.indices((28, 28))
    centre = [(images[labels == 0] * axis).sum() / images[labels == 0].sum() for axis in (rows, columns)]
    assert centre == pytest.approx([13.5, 13.5], abs=1)


def test_transfer_excludes_each_image_from_its_own_neighbours() -> None:
    labels = RNG.integers(10, size=200)
    z = torch.from_numpy(RNG.normal(size=(200, 16)).astype(np.float32))
    found = probes.transfer(embeddings(LABELS, 0.1), torch.from_numpy(LABELS), z, labels, neighbours=1)
    assert found["leave_one_out"].mean() < 0.3  # with itself in the index, each image would be its own neighbour
    own = probes.transfer(embeddings(LABELS, 0.1), torch.from_numpy(LABELS), embeddings(labels, 0.1), labels, neighbours=5)
    assert own["from_training"].all() and own["leave_one_out"].all()


def test_examples_are_one_query_per_class_with_its_nearest_neighbours() -> None:
    queries, others = probes.examples(embeddings(LABELS, 0.1), LABELS, 3)
    assert queries.tolist() == list(range(10)) and others.shape == (10, 3)
    assert (LABELS[others] == LABELS[queries][:, None]).all() and not (others == queries[:, None]).any()


def test_downstream_metrics_are_the_means_over_their_images() -> None:
    few = {"labels": [10], "label_draws": 2, "retrieval_queries": 40, "neighbours": 3}
    mnist = MNIST.model_copy(update={"evaluation": MNIST.evaluation.model_copy(update=few)})
    digits, digit_labels = embeddings(LABELS[:50], 0.1), LABELS[:50]
    z = embeddings(LABELS, 4)
    metrics, by_image = probes.downstream(z, LABELS, z[:90], LABELS[:90], (digits, digit_labels), mnist=mnist, seed=0)
    assert metrics["linear_probe"]["accuracy"]["mean"] == pytest.approx(by_image["probe_right"].mean(), rel=1e-5)
    assert metrics["retrieval"]["map"]["mean"] == pytest.approx(by_image["average_precision"].mean(), rel=1e-5)
    assert by_image["average_precision"].shape == (40,) and by_image["leave_one_out_right"].shape == (50,)
    without_transfer, by_image = probes.downstream(z, LABELS, z[:90], LABELS[:90], None, mnist=mnist, seed=0)
    assert without_transfer == {key: value for key, value in metrics.items() if key != "transfer"}
    assert set(by_image) == {"probe_right", "average_precision"}


def test_fraction_has_the_binomial_standard_error() -> None:
    assert fraction(np.arange(10) < 8) == {"mean": 0.8, "std": 0.0, "values": [0.8], "standard_error": rounded(0.016**0.5)}
    assert fraction(np.ones(10, dtype=bool))["standard_error"] == 0


def test_robustness_is_the_accuracy_by_perturbation_and_strength_with_its_standard_error() -> None:
    labels = np.arange(10)
    perturbed = {"rows": np.arange(0, 10, 2), "shown": np.stack([np.arange(0, 10, 2)] * 2)}
    perturbed["shown"][1, :2] = 9  # at the higher strength, two images get the class 9
    metrics, right = probes.robustness(lambda classes: classes, perturbed, labels, ["shown"], [0.2, 1.0])
    assert metrics == {"shown": {"0.2": fraction(np.ones(5)), "1": fraction(np.arange(5) > 1)}}
    assert right.tolist() == [[[True] * 5, [False, False, True, True, True]]]


def test_with_statistics_sets_batchnorm_statistics_in_a_copy() -> None:
    class Method(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = ConvEncoder(channels=[4, 4, 4], dim=6, side=28, colours=1, mixed_precision=False)
            self.embed = self.encoder.forward

    method = Method().eval()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    images = torch.randint(256, (300, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    copied = with_statistics(method, images, torch.device("cpu"))
    assert all((value == before[key]).all() for key, value in method.state_dict().items())
    convolved = copied.encoder[0](as_images(images))
    assert copied.encoder[1].running_mean.tolist() == pytest.approx(convolved.mean((0, 2, 3)).tolist(), abs=1e-4)
    assert copied.encoder[1].running_var.tolist() == pytest.approx(convolved.var((0, 2, 3)).tolist(), rel=1e-3)
    assert not copied.training
