"""Pictures of the methods on the images, from their metrics and fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots import images, sheets
from stages.results.targets import KNN, MNIST_TEST

KNN_METRICS = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""Metrics of k-NN in the picture that compares it with the baselines."""
CLASSES = 10
"""Number of classes."""
SHOWN = 12
"""Images per row of the contact sheet."""
Fields = Mapping[str, NDArray[Any]]
"""Arrays by their names, as in the fields file of a method."""


def of_method(
    name: str,
    metrics: Mapping[str, Any],
    fields: Fields,
    test: Fields,
    *,
    test_digest: str,
    neighbours: int,
    robustness_images: int,
    shown: int,
) -> dict[str, Figure]:
    """Pictures of a method's embedding and of its k-NN metrics, by their names.

    Args:
        name: name of the method.
        metrics: content of its metrics file, reports/metrics/mnist.
        fields: content of its fields file, reports/fields/mnist.
        test: the test images with their labels.
        test_digest: the sha256 of the test images, which determines whether the target applies.
        neighbours: k of the k-NN.
        robustness_images: number of images in each perturbed set.
        shown: number of test images in the scatter plot.
    """
    byte_images, true, predicted = test["images"], test["labels"], fields["predicted"]
    labels = true[:shown]
    accuracy, clean, precision = (
        metrics[group][key]["mean"]
        for group, key in (("knn", "accuracy"), ("robustness_clean", "accuracy"), ("retrieval", "map"))
    )
    target = KNN if test_digest == MNIST_TEST else None
    compared = {name: "knn", "raw pixels": "knn_raw_pixels", "untrained encoder": "knn_untrained"}
    groups = {label: {m.replace("_", "\n"): metrics[key][m]["mean"] for m in KNN_METRICS} for label, key in compared.items()}
    robustness = {kind: {s: v["mean"] for s, v in group.items()} for kind, group in metrics["robustness"].items()}
    wrong = predicted != true
    on_test = f"{name}: k-NN on the test images"
    return {
        "pca": images.pca(fields["pca"][-1], labels, f"{name}: PCA of the embeddings of the first {len(labels):,} test images"),
        "knn": images.dots(groups, f"{on_test}, k = {neighbours}", "score", target),
        "confusion": images.confusion(confusion(true, predicted, CLASSES), f"{on_test}, accuracy {accuracy:.4f}"),
        "mistakes": sheets.mistakes(byte_images[wrong], true[wrong], predicted[wrong], on_test),
        "neighbours": sheets.neighbours(
            byte_images[fields["queries"]],
            byte_images[fields["nearest"]],
            true[fields["nearest"]] == true[fields["queries"]][:, None],
            f"{name}: test images and their nearest neighbours; mean average precision {precision:.3f}",
        ),
        "robustness": images.robustness(robustness, clean, f"{name}: k-NN on {robustness_images:,} perturbed test images"),
    }


def confusion(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The confusion matrix (classes, classes): images of class i (row) that were assigned to class j (column)."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def over_training(name: str, fields: Fields, labels: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Frames of the PCA of the embeddings of test images over training."""
    title = f"{name}: test embeddings over training"
    return images.pca_over_training(fields["pca"], labels, fields["steps"], title)


def of_reconstructions(name: str, metrics: Mapping[str, Any], fields: Fields) -> dict[str, Figure]:
    """Pictures of original, perturbed and reconstructed images, and of each perturbation at increasing strength."""
    mse, psnr, ssim = (metrics[key]["mean"] for key in ("mse", "psnr", "ssim"))
    rows = {row: fields[row] for row in ("original", "perturbed", "reconstructed")}
    severity = {}
    for kind in metrics["per_perturbation"]:
        severity[kind.replace("_", " ")] = fields[f"{kind}_perturbed"]
        severity[f"{kind.replace('_', ' ')} → clean"] = fields[f"{kind}_reconstructed"]
    strengths = list(next(iter(metrics["per_perturbation"].values())))
    return {
        "reconstructions": sheets.sheet(rows, f"{name}: MSE {mse:.4f}, PSNR {psnr:.1f} dB, SSIM {ssim:.3f}"),
        "severity": sheets.sheet(severity, f"{name}: severity increases to the right", strengths),
    }


def interpolation(name: str, fields: Fields) -> list[NDArray[np.uint8]]:
    """Frames of decoded interpolations between the embeddings of images."""
    return images.movie(fields["interpolation"], f"{name}: interpolation of embeddings")


def contact_sheet(clean: NDArray[np.uint8], perturbed: Fields, kinds: Sequence[str], strengths: Sequence[float]) -> Figure:
    """The first test images under each perturbation at each strength."""
    shown = perturbed["rows"][:SHOWN]
    rows = {"original": clean[shown], "training view": perturbed["mixed"][shown]}
    for kind in kinds:
        for strength, images_of_kind in zip(strengths, perturbed[kind], strict=True):
            rows[f"{kind.replace('_', ' ')} {strength:g}"] = images_of_kind[:SHOWN]
    return sheets.sheet(rows, "perturbations, with their strength as a fraction of mnist_severity")
