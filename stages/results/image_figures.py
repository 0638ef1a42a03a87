"""Pictures of the methods on the images, from their metrics and fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.plots import images, sheets
from stages.results.targets import KNN, MNIST_TEST

FIGURES = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
CLASSES = 10
SHOWN = 12
"""Images per row of the contact sheet."""
Fields = Mapping[str, NDArray[Any]]


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
    """What the embedding of a method looks like and how it is scored, by the name of the picture.

    Args:
        name: of the method.
        metrics: reports/metrics/mnist.
        fields: reports/fields/mnist.
        test: the test images with their labels.
        test_digest: the sha256 of the test images, which decides whether there is a figure to beat.
        neighbours: k of the k-NN.
        robustness_images: images in each perturbed set.
        shown: test images on the scatter plot.
    """
    byte_images, true, predicted = test["images"], test["labels"], fields["predicted"]
    labels = true[:shown]
    accuracy, clean, precision = (
        metrics[group][key]["mean"]
        for group, key in (("knn", "accuracy"), ("robustness_clean", "accuracy"), ("retrieval", "map"))
    )
    goal = KNN if test_digest == MNIST_TEST else None
    contestants = {name: "knn", "raw pixels": "knn_raw_pixels", "untrained encoder": "knn_untrained"}
    groups = {who: {f.replace("_", "\n"): metrics[key][f]["mean"] for f in FIGURES} for who, key in contestants.items()}
    robustness = {kind: {s: v["mean"] for s, v in group.items()} for kind, group in metrics["robustness"].items()}
    wrong = predicted != true
    on_test = f"{name}: k-NN on the test images"
    return {
        "pca": images.pca(
            fields["pca"][-1], labels, f"{name}: the first {len(labels):,} test images on two principal components"
        ),
        "knn": images.dots(groups, f"{on_test}, k = {neighbours}", "score", goal),
        "confusion": images.confusion(confusion(true, predicted, CLASSES), f"{on_test}, accuracy {accuracy:.4f}"),
        "mistakes": sheets.mistakes(byte_images[wrong], true[wrong], predicted[wrong], on_test),
        "neighbours": sheets.neighbours(
            byte_images[fields["queries"]],
            byte_images[fields["nearest"]],
            true[fields["nearest"]] == true[fields["queries"]][:, None],
            f"{name}: test images and the others nearest to them; mean average precision {precision:.3f}",
        ),
        "robustness": images.robustness(robustness, clean, f"{name}: k-NN on {robustness_images:,} perturbed test images"),
    }


def confusion(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often images of class i (row) were assigned to class j (column), (classes, classes)."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def over_training(name: str, fields: Fields, labels: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Frames of the embeddings of test images on two principal components over the training."""
    title = f"{name}: test embeddings over training"
    return images.pca_over_training(fields["pca"], labels, fields["steps"], title)


def of_reconstructions(name: str, metrics: Mapping[str, Any], fields: Fields) -> dict[str, Figure]:
    """Original, perturbed and reconstructed images side by side; and one image under every perturbation at rising strength."""
    mse, psnr, ssim = (metrics[key]["mean"] for key in ("mse", "psnr", "ssim"))
    rows = {row: fields[row] for row in ("original", "perturbed", "reconstructed")}
    severity = {}
    for kind in metrics["per_perturbation"]:
        severity[kind.replace("_", " ")] = fields[f"{kind}_perturbed"]
        severity[f"{kind.replace('_', ' ')} → clean"] = fields[f"{kind}_reconstructed"]
    strengths = list(next(iter(metrics["per_perturbation"].values())))
    return {
        "reconstructions": sheets.sheet(rows, f"{name}: MSE {mse:.4f}, PSNR {psnr:.1f} dB, SSIM {ssim:.3f}"),
        "severity": sheets.sheet(severity, f"{name}: severity rises to the right", strengths),
    }


def interpolation(name: str, fields: Fields) -> list[NDArray[np.uint8]]:
    """Frames of the way from one image to the next through the embeddings."""
    return images.movie(fields["interpolation"], f"{name}: from one image to the next")


def contact_sheet(clean: NDArray[np.uint8], perturbed: Fields, kinds: Sequence[str], strengths: Sequence[float]) -> Figure:
    """The first test images under every perturbation at every strength."""
    shown = perturbed["rows"][:SHOWN]
    rows = {"original": clean[shown], "training view": perturbed["mixed"][shown]}
    for kind in kinds:
        for strength, moved in zip(strengths, perturbed[kind], strict=True):
            rows[f"{kind.replace('_', ' ')} {strength:g}"] = moved[:SHOWN]
    return sheets.sheet(rows, "perturbations, with their strength as a fraction of mnist_severity")
