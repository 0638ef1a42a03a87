"""Evaluation of embeddings of images on downstream tasks."""

from __future__ import annotations

import warnings
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
from stages.metrics.paired import Correct
from stages.metrics.retrieval import retrieve, without_itself
from stages.metrics.summary import fraction, over_seeds
from stages.mnist.images.subset import evenly

Labels = NDArray[np.int64]
DIGITS = 10
"""Number of classes of scikit-learn's digits."""


def linear_probe(train: Tensor, train_labels: Labels, test: Tensor) -> Labels:
    """Predicted classes of the test embeddings, by multinomial logistic regression on standardised embeddings."""
    scale = StandardScaler().fit(train.numpy())
    probe = LogisticRegression(max_iter=2000, tol=1e-3).fit(scale.transform(train.numpy()), train_labels)
    predicted: Labels = probe.predict(scale.transform(test.numpy()))
    return predicted


def few_labels(
    train: Tensor, train_labels: Labels, test: Tensor, test_labels: Labels, *, counts: Sequence[int], draws: int, seed: int
) -> dict[str, Any]:
    """Test accuracy of linear probes with few labels: for each count of labels, over random draws of labelled images.

    All classes have the same number of labels, so each count is rounded down to a multiple of the number of classes, within the
    number of training embeddings; a class with fewer embeddings gives all of them. The draws depend on `seed` alone, so all
    embeddings are compared on the same ones. The standardisation uses all training embeddings, since it needs no labels.
    """
    classes = int(train_labels.max()) + 1
    counts = sorted({classes * max(min(count, len(train)) // classes, 1) for count in counts})
    scale = StandardScaler().fit(train.numpy())
    points, queries = scale.transform(train.numpy()), scale.transform(test.numpy())
    generator = np.random.default_rng(seed)
    accuracy: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(draws):
        order = generator.permutation(len(points))
        of_class = [order[train_labels[order] == label] for label in range(classes)]
        for count in counts:
            chosen = np.concatenate([members[: count // classes] for members in of_class])
            with warnings.catch_warnings():
                # With one label of each class every label is unique, as in a regression.
                warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
                probe = LogisticRegression(max_iter=2000, tol=1e-3).fit(points[chosen], train_labels[chosen])
            accuracy[count].append(float(probe.score(queries, test_labels)))
    return {str(count): over_seeds(values) for count, values in accuracy.items()}


def average_precision(embeddings: Tensor, labels: Labels, queries: int) -> NDArray[np.float64]:
    """Average precision (Q,) of retrieval by distance, for `queries` evenly spaced embeddings among all others."""
    rows = torch.from_numpy(evenly(len(embeddings), queries))
    return retrieve(embeddings, torch.from_numpy(labels), rows).numpy()


def examples(embeddings: Tensor, labels: Labels, neighbours: int) -> tuple[Labels, Labels]:
    """Indices of the first image of each class, (Q,), and of its K nearest neighbours, (Q, K)."""
    queries = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)])
    ranked = nearest(embeddings, embeddings[torch.from_numpy(queries)], neighbours + 1).numpy()
    others = np.stack([row[row != query][:neighbours] for row, query in zip(ranked, queries, strict=True)])
    return queries, others


def small_digits() -> tuple[NDArray[np.uint8], Labels]:
    """scikit-learn's 1,797 handwritten digits of 8 × 8 pixels as byte images (N, 28, 28), and their labels (N,).

    Each is enlarged to 20 × 20 pixels by linear interpolation and padded by 4, the size and the margin of MNIST's digits.
    """
    digits = load_digits()
    inner = zoom(digits.images / 16, (1, 2.5, 2.5), order=1)
    images = np.pad(np.clip(inner * 255, 0, 255).round().astype(np.uint8), ((0, 0), (4, 4), (4, 4)))
    return images, digits.target.astype(np.int64)


def transfer(index: Tensor, index_labels: Tensor, digits: Tensor, digit_labels: Labels, neighbours: int) -> dict[str, Correct]:
    """Whether k-NN classifies images of another data set correctly.

    Returns:
        `leave_one_out`, with the other images of that data set as the index; `from_training`, with the training images; (N,)
        each.
    """
    labels = torch.from_numpy(digit_labels)
    own = without_itself(nearest(digits, digits, neighbours + 1), torch.arange(len(digits)))
    from_training = knn_classify(index, index_labels, digits, neighbours)
    return {
        "leave_one_out": (vote(labels[own], DIGITS) == labels).numpy(),
        "from_training": (from_training == labels).numpy(),
    }


def downstream(
    index: Tensor,
    index_labels: Labels,
    queries: Tensor,
    query_labels: Labels,
    others: tuple[Tensor, Labels] | None,
    *,
    mnist: Mnist,
    seed: int,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Results of embeddings on the downstream tasks other than k-NN.

    Args:
        index, index_labels: embeddings (N, D) of the training images, and their labels.
        queries, query_labels: embeddings (M, D) of the test images, and their labels.
        others: embeddings and labels of another data set, for transfer.
        mnist: the params block `mnist`.
        seed: of the draws of labelled images.

    Returns:
        The metrics; and results per image for paired tests: `probe_right` (M,), `average_precision` (Q,) and, with `others`,
        `leave_one_out_right` and `from_training_right`.
    """
    right = {"probe": linear_probe(index, index_labels, queries) == query_labels}
    if others:
        right |= transfer(index, torch.from_numpy(index_labels), *others, mnist.evaluation.neighbours)
    precision = average_precision(queries, query_labels, mnist.evaluation.retrieval_queries)
    metrics = {
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
        metrics["transfer"] = {key: over_seeds(right[key].mean()) for key in ("leave_one_out", "from_training")}
    return metrics, {**{f"{key}_right": values for key, values in right.items()}, "average_precision": precision}


def robustness(
    classify: Callable[[NDArray[np.uint8]], Labels],
    perturbed: Mapping[str, NDArray[Any]],
    labels: Labels,
    kinds: Sequence[str],
    strengths: Sequence[float],
) -> tuple[dict[str, Any], Correct]:
    """Accuracy on test images at each strength of each perturbation.

    Args:
        classify: maps byte images (N, H, W) or (N, H, W, 3) to classes (N,).
        perturbed: the arrays of stage mnist_perturb.
        labels: of all test images.
        kinds: the names of the perturbations.
        strengths: of the perturbed images.

    Returns:
        The accuracy, with its standard error, by perturbation and strength; and whether each image is classified correctly,
        (kinds, strengths, N), for paired tests.
    """
    true = labels[perturbed["rows"]]
    right = np.stack([[classify(images) == true for images in perturbed[kind]] for kind in kinds])
    metrics = {
        kind: {f"{strength:g}": fraction(one) for strength, one in zip(strengths, of_kind, strict=True)}
        for kind, of_kind in zip(kinds, right, strict=True)
    }
    return metrics, right


def projections(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Snapshots (T, N, D) projected onto the first two principal components of the last one.

    Returns:
        The projected snapshots (T, N, 2), and the fraction of the last one's variance along each component (2,).
    """
    pca = PCA(2, svd_solver="covariance_eigh").fit(embeddings[-1])
    projected = np.stack([pca.transform(snapshot) for snapshot in embeddings])
    return projected.astype(np.float32), pca.explained_variance_ratio_.astype(np.float32)
