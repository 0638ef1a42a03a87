"""Pictures of the methods on the images, from their metrics and fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.pipeline.descriptions import describe
from stages.pipeline.page_script import evenly_spaced
from stages.plots import images, sheets
from stages.plots.colours import BASELINE, TRUTH, method_colour
from stages.plots.comparison import Shown
from stages.results.targets import KNN, MNIST_TEST

UNTRAINED, RAW = Shown("untrained encoder", BASELINE), Shown("raw pixels", TRUTH)
"""The appearance of the two baselines."""
BASELINES = {UNTRAINED: "knn_untrained", RAW: "knn_raw_pixels"}
"""The baselines of k-NN and their groups in the metrics."""
SHOWN = 9
"""Images per row of the contact sheet at full strength."""
QUERIES = 30
"""Most queries on the sheet of neighbours, which has one of each class."""
IDX_IMAGES = 2051
"""The magic number of an idx file of images."""
Fields = Mapping[str, NDArray[Any]]
"""Arrays by their names, as in the fields file of a method."""


def of_method(
    name: str,
    metrics: Mapping[str, Any],
    fields: Fields,
    test: Fields,
    *,
    classes: Sequence[str],
    dataset: str,
    robustness_images: int,
    shown: int,
) -> dict[str, Figure]:
    """Pictures of a method's embedding and of its k-NN metrics, by their names.

    Args:
        name: name of the method.
        metrics: content of its metrics file, reports/metrics/mnist.
        fields: content of its fields file, reports/fields/mnist.
        test: the test images with their labels.
        classes: names of the classes.
        dataset: title of the data set.
        robustness_images: number of images in each perturbed set.
        shown: number of test images in the scatter plot.
    """
    byte_images, true, predicted = test["images"], test["labels"], fields["predicted"]
    labels, title = true[:shown], describe(name).title
    accuracy, precision = (metrics[group][key]["mean"] for group, key in (("knn", "accuracy"), ("retrieval", "map")))
    wrong = predicted != true
    rows = evenly_spaced(len(fields["queries"]), QUERIES)
    queries, nearest = fields["queries"][rows], fields["nearest"][rows]
    part = "" if len(rows) == len(fields["queries"]) else f", from {len(rows)} of the {len(classes)} classes,"
    return {
        "pca": images.pca(
            fields["pca"][-1],
            labels,
            classes,
            fields["pca_explained"],
            f"{title}\nembeddings of the first {len(labels):,} test images of {dataset}",
        ),
        "confusion": images.confusion(
            confusion(true, predicted, len(classes)),
            classes,
            f"{title}\nk-NN on the test images of {dataset}, accuracy {accuracy:.4f}",
        ),
        "mistakes": sheets.mistakes(byte_images[wrong], true[wrong], predicted[wrong], classes, f"{title}, {dataset}"),
        "neighbours": sheets.neighbours(
            byte_images[queries],
            byte_images[nearest],
            true[nearest] == true[queries][:, None],
            f"{title}\ntest images of {dataset}{part} and their nearest neighbours; mean average precision {precision:.3f}",
        ),
        "robustness": robustness({name: metrics}, robustness_images, f"{title}: "),
    }


def robustness(metrics: Mapping[str, Mapping[str, Any]], count: int, prefix: str = "") -> Figure:
    """Accuracy curves of methods, and of raw pixels, on perturbed images.

    Args:
        metrics: of each method.
        count: images in each perturbed set.
        prefix: of the title.
    """
    curves = [(of_shown(name), m) for name, m in metrics.items()]
    curves.append((RAW, next(iter(metrics.values()))["raw_pixels"]))
    title = f"{prefix}k-NN on {count:,} perturbed test images, with 95 % confidence intervals"
    return images.robustness(curves, count, title)


def knn(metrics: Mapping[str, Mapping[str, Any]], *, test: NDArray[np.uint8], dataset: str, neighbours: int) -> Figure:
    """The test error of k-NN on the embedding of each method, on untrained ones and on raw pixels.

    Args:
        metrics: of each method.
        test: the test images, which determine whether the target applies.
        dataset: title of the data set.
        neighbours: k of the k-NN.
    """
    first = next(iter(metrics.values()))
    errors = [(of_shown(name), 1 - m["knn"]["accuracy"]["mean"]) for name, m in metrics.items()]
    errors += [(label, 1 - first[key]["accuracy"]["mean"]) for label, key in BASELINES.items()]
    target = 1 - KNN if idx_digest(test) == MNIST_TEST else None
    return images.knn(errors, f"k-NN with k = {neighbours} on the test images of {dataset}", target)


def idx_digest(byte_images: NDArray[np.uint8]) -> str:
    """The SHA-256 of an idx file of byte images."""
    header = np.array([IDX_IMAGES, *byte_images.shape], dtype=">u4").tobytes()
    return hashlib.sha256(header + byte_images.tobytes()).hexdigest()


def of_shown(name: str) -> Shown:
    """The appearance of a method."""
    return Shown(describe(name).short, method_colour(name))


def confusion(true: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """The confusion matrix (classes, classes): images of class i (row) that were assigned to class j (column)."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def over_training(
    name: str, fields: Fields, labels: NDArray[np.int64], *, classes: Sequence[str], dataset: str
) -> list[NDArray[np.uint8]]:
    """Frames of the PCA of the embeddings of test images over training."""
    title = f"{describe(name).title}\nembeddings of test images of {dataset} over training"
    return images.pca_over_training(fields["pca"], labels, classes, fields["steps"], fields["pca_explained"], title)


def of_reconstructions(name: str, metrics: Mapping[str, Any], fields: Fields, *, dataset: str) -> dict[str, Figure]:
    """Pictures of original, perturbed and reconstructed images, and of each perturbation at increasing strength."""
    mse, psnr, ssim = (metrics[key]["mean"] for key in ("mse", "psnr", "ssim"))
    title = describe(name).title
    rows = {row: fields[row] for row in ("original", "perturbed", "reconstructed")}
    kinds = list(metrics["per_perturbation"])
    severity = {}
    for place, strength in enumerate(metrics["per_perturbation"][kinds[0]]):
        for state in ("perturbed", "reconstructed"):
            label = f"{state}, {images.strength_label(strength)}"
            severity[label] = np.stack([sheets.floats(fields[f"{kind}_{state}"][place]) for kind in kinds])
    columns = [kind.replace("_", "\n") for kind in kinds]
    return {
        "reconstructions": sheets.sheet(rows, f"{title}, {dataset}: MSE {mse:.4f}, PSNR {psnr:.1f} dB, SSIM {ssim:.3f}"),
        "severity": sheets.sheet(
            severity, f"{title}\na test image of {dataset}, perturbed more and more, and its reconstruction", columns
        ),
    }


def interpolation(name: str, fields: Fields, classes: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Frames of decoded interpolations between the embeddings of images, each with the classes at both ends."""
    frames, names = fields["interpolation"], [classes[label] for label in fields["interpolation_labels"]]
    between = len(frames) // len(names)
    ends = list(zip(names, [*names[1:], names[0]], strict=True))
    titles = [f"{describe(name).short}: from {a} to {b}" for a, b in (ends[frame // between] for frame in range(len(frames)))]
    return images.movie(frames, titles)


def contact_sheet(
    clean: NDArray[np.uint8], perturbed: Fields, kinds: Sequence[str], strengths: Sequence[float], *, dataset: str
) -> Figure:
    """The first test image under each perturbation at each strength, and the next ones at full strength."""
    weaker = len(strengths) - 1
    first, others = [0] * weaker, range(SHOWN)
    places = [*first, *others]
    originals = perturbed["rows"][places]
    rows = {"original": clean[originals], "as in training": perturbed["mixed"][originals]}
    for kind in kinds:
        by_strength = perturbed[kind]
        rows[kind.replace("_", " ")] = np.concatenate((by_strength[:weaker, 0], by_strength[-1, others]))
    columns = [images.strength_label(strength) for strength in (*strengths[:weaker], *(strengths[-1] for _ in others))]
    title = f"Perturbations of {dataset}, in percent of the strongest: one image at all strengths, others at the last one"
    return sheets.sheet(rows, title, columns)
