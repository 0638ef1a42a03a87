"""What is measured of embeddings of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from stages.config.images import Mnist
from stages.metrics.neighbours import knn_classify, nearest, vote
from stages.metrics.paired import Right
from stages.metrics.retrieval import retrieve, without_itself
from stages.metrics.summary import over_seeds
from stages.mnist.images.subset import evenly

Labels = NDArray[np.int64]
CLASSES = 10


def linear_probe(train: Tensor, train_labels: Labels, test: Tensor) -> Labels:
    """What a multinomial logistic regression on standardised embeddings takes the test embeddings for."""
    scale = StandardScaler().fit(train.numpy())
    probe = LogisticRegression(max_iter=100, tol=1e-3).fit(scale.transform(train.numpy()), train_labels)
    predicted: Labels = probe.predict(scale.transform(test.numpy()))
    return predicted


def few_labels(
    train: Tensor, train_labels: Labels, test: Tensor, test_labels: Labels, *, counts: Sequence[int], draws: int, seed: int
) -> dict[str, Any]:
    """Test accuracy of a linear probe that is given few labels: one figure per count, over several draws of the images.

    Each class has the same number of labels, and the same draws serve every embedding. Embeddings are standardised by all
    training embeddings, which takes no labels.
    """
    scale = StandardScaler().fit(train.numpy())
    points, queries = scale.transform(train.numpy()), scale.transform(test.numpy())
    generator = np.random.default_rng(seed)
    accuracy: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(draws):
        order = generator.permutation(len(points))
        of_class = [order[train_labels[order] == label] for label in range(CLASSES)]
        for count in counts:
            chosen = np.concatenate([members[: count // CLASSES] for members in of_class])
            probe = LogisticRegression(max_iter=500, tol=1e-3).fit(points[chosen], train_labels[chosen])
            accuracy[count].append(float(probe.score(queries, test_labels)))
    return {str(count): over_seeds(values) for count, values in accuracy.items()}


def average_precision(embeddings: Tensor, labels: Labels, queries: int) -> NDArray[np.float64]:
    """Retrieval by distance: evenly spaced embeddings as queries, all others ranked; the average precision of each."""
    asked = torch.from_numpy(evenly(len(embeddings), queries))
    return retrieve(embeddings, torch.from_numpy(labels), asked).numpy()


def examples(embeddings: Tensor, labels: Labels, neighbours: int) -> tuple[Labels, Labels]:
    """The first image of each class, (Q,), and its nearest others, (Q, K), as row numbers."""
    queries = np.array([np.flatnonzero(labels == label)[0] for label in range(CLASSES) if (labels == label).any()])
    ranked = nearest(embeddings, embeddings[torch.from_numpy(queries)], neighbours + 1).numpy()
    others = np.stack([row[row != query][:neighbours] for row, query in zip(ranked, queries, strict=True)])
    return queries, others


def small_digits() -> tuple[NDArray[np.uint8], Labels]:
    """The 1,797 handwritten digits of 8 × 8 pixels that scikit-learn carries, in MNIST's format: byte images (N, 28, 28).

    Enlarged to 20 × 20 pixels by linear interpolation in a margin of 4, as MNIST's own digits lie in their frame.
    """
    digits = load_digits()
    inner = zoom(digits.images / 16, (1, 2.5, 2.5), order=1)
    images = np.pad(np.clip(inner * 255, 0, 255).round().astype(np.uint8), ((0, 0), (4, 4), (4, 4)))
    return images, digits.target.astype(np.int64)


def transfer(index: Tensor, index_labels: Tensor, digits: Tensor, digit_labels: Labels, neighbours: int) -> dict[str, Right]:
    """Which images of another source k-NN gets right: among themselves, each left out in turn, and by the training images."""
    labels = torch.from_numpy(digit_labels)
    own = without_itself(nearest(digits, digits, neighbours + 1), torch.arange(len(digits)))
    from_training = knn_classify(index, index_labels, digits, neighbours)
    return {
        "leave_one_out": (vote(labels[own], CLASSES) == labels).numpy(),
        "from_training": (from_training == labels).numpy(),
    }


def uses(
    index: Tensor,
    index_labels: Labels,
    queries: Tensor,
    query_labels: Labels,
    others: tuple[Tensor, Labels] | None,
    *,
    mnist: Mnist,
    seed: int,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What embeddings of the training and the test images are good for, beside k-NN; and those of `others`, with their labels.

    Returns:
        The figures; and by which image they come about, for paired comparisons: `probe_right` (M,), `average_precision` (Q,)
        and, where there are others, `leave_one_out_right` and `from_training_right`.
    """
    right = {"probe": linear_probe(index, index_labels, queries) == query_labels}
    if others:
        right |= transfer(index, torch.from_numpy(index_labels), *others, mnist.evaluation.neighbours)
    precision = average_precision(queries, query_labels, mnist.evaluation.retrieval_queries)
    figures = {
        "linear_probe": {"accuracy": over_seeds(right["probe"].mean())},
        "few_labels": few_labels(
            index,
            index_labels,
            queries,
            query_labels,
            counts=mnist.evaluation.labels,
            draws=mnist.evaluation.label_draws,
            seed=seed,
        ),
        "retrieval": {"map": over_seeds(precision.mean())},
    }
    if others:
        figures["transfer"] = {key: over_seeds(right[key].mean()) for key in ("leave_one_out", "from_training")}
    return figures, {**{f"{key}_right": values for key, values in right.items()}, "average_precision": precision}


def robustness(
    classify: Callable[[NDArray[np.uint8]], Labels],
    perturbed: Mapping[str, NDArray[Any]],
    labels: Labels,
    kinds: Sequence[str],
    strengths: Sequence[float],
) -> tuple[dict[str, Any], Right]:
    """How often test images are classified rightly at each strength of each perturbation.

    Args:
        classify: from byte images (N, 28, 28) to their classes (N,).
        perturbed: the sets of stage mnist_perturb.
        labels: of all test images.
        kinds: the perturbations.
        strengths: of their sets.

    Returns:
        Perturbation and strength to the accuracy; and which images are right, (kinds, strengths, N), for paired comparisons.
    """
    true = labels[perturbed["rows"]]
    right = np.stack([[classify(images) == true for images in perturbed[kind]] for kind in kinds])
    figures = {
        kind: {f"{strength:g}": over_seeds(one.mean()) for strength, one in zip(strengths, of_kind, strict=True)}
        for kind, of_kind in zip(kinds, right, strict=True)
    }
    return figures, right


def projections(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Snapshots (T, N, D) on the first two principal components of the last one, (T, N, 2)."""
    pca = PCA(2, svd_solver="covariance_eigh").fit(embeddings[-1])
    return np.stack([pca.transform(snapshot) for snapshot in embeddings]).astype(np.float32)
