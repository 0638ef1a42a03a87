"""Whether the metrics of a run are those of another one, within what chance explains.

On a machine like the committed run's they are equal to the last byte. Another processor gives other last digits, which a
training amplifies until it amounts to another seed. So a figure over S seeds may move by four standard errors of the difference
of two means, 4 · std · √(2/S). A figure of a single training has no spread of its own: a fraction p of N images may move by
4 √(2 p(1 − p)/N), as for two independent trainings, and any other figure by as much as `SINGLE` says. What needs no training
moves by rounding alone, which decides a few ties of k-NN otherwise. The four k-NN figures on MNIST have to reach the figure to
beat where the committed ones do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.config.images import Mnist
from stages.pipeline import artifacts
from stages.results.targets import KNN

METRICS = artifacts.ALL_METRICS
UNTRAINED = (
    *("raw", "untrained", "mean_image", "pca", "bayes", "ceiling", "floor", "ideal", "control_", "mnist_baseline"),
    *("exact", "_guess"),
)
"""What marks the name of a figure that no training enters."""
EXACT = ("thousand_images_seen",)
"""Figures that the params alone decide."""
FRACTIONS = ("knn", "knn_validation", "linear_probe", "robustness", "robustness_clean", "transfer")
"""Groups of figures that are fractions of images."""
COUNTED = {"escaped", "delta_knn_accuracy_raw", "delta_knn_accuracy_untrained"}
"""Shares of points, or differences of them, that may be 0 for all seeds."""
FEW = 2e-3
"""Change of such a share: two points of a thousand."""
DIGITS = 1797
"""Images of scikit-learn's digits, to which embeddings are transferred."""
ROUNDING = 2e-3
"""Relative change of a figure that no training enters."""
TIES = 3
"""Images of a fraction that may be taken for something else where no training enters."""
SINGLE = {"collapse": 0.5, "per_perturbation": 0.3, "clean": 0.12}
"""Relative change of the figures of a single training that are no fractions, by a part of their name: about four times what
they vary over seeds, for reconstructions in the study mnist_reconstruct."""
OTHERS = 0.05
"""The same where no part is named."""
SAME_DRAWS = {"heldout_loss", "batch_dependence"}
"""Figures for which all seeds see the same draws, so that their spread over seeds does not say what other draws would do.
Another device has other draws; there these may move by `OTHERS`."""


def figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All measured figures and verdicts with their dotted names."""
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "mean" not in value:
            yield from figures(value, f"{name}.")
        else:
            yield name, value


def allowed(name: str, figure: Mapping[str, Any], sizes: Mapping[str, int], *, other_device: bool = False) -> float:
    """How far the mean of a committed figure may move.

    Args:
        name: of the figure, as FILE:GROUP.….NAME.
        figure: as it is committed.
        sizes: the number of images of each set.
        other_device: whether the other run was on another kind of device.
    """
    parts = re.split("[.:]", name)
    mean, seeds = figure["mean"], len(figure["values"])
    if set(EXACT) & set(parts):
        return 0.0
    spread = 4 * figure["std"] * math.sqrt(2 / seeds)
    group = next((part for part in parts if part in FRACTIONS), None)
    count = sizes.get(group, sizes["test"]) if group else 0
    if COUNTED & set(parts):
        return max(spread + 1e-3 * abs(mean), FEW)
    if any(word in name for word in UNTRAINED):
        # Samples of labelled images are the same in every run.
        return max(ROUNDING * abs(mean), TIES / count if count else 0) + (0 if "few_labels" in parts else spread)
    if seeds > 1:
        least = OTHERS * abs(mean) if other_device and SAME_DRAWS & set(parts) else 0
        return max(spread + 1e-3 * abs(mean), least)
    if count:
        # How a training answers to strong perturbations varies by more than the images do (study strengths: std .02 to .03).
        variance = 1 / 4 if group == "robustness" else max(mean * (1 - mean), 1 / count)
        return 4 * math.sqrt(2 * variance / count)
    share = next((bound for part, bound in SINGLE.items() if part in parts), OTHERS)
    # Decibels are of a ratio of squared errors.
    return 10 * math.log10(1 + share) if parts[-1] == "psnr" else share * abs(mean)


def deviations(
    name: str,
    committed: Mapping[str, Any],
    found: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    other_device: bool = False,
) -> Iterator[tuple[str, str, bool]]:
    """What differs between two metrics files: the figure, by how much, and whether that is within tolerance."""
    new = dict(figures(found))
    for key, old in figures(committed):
        label = f"{name}:{key}"
        if key not in new:
            yield label, "is missing", False
        elif isinstance(old, bool):
            if old != new[key]:
                yield label, f"was {old}, is {new[key]}", False
        elif key.endswith("collapsed_seeds"):
            continue  # `collapsed` is the verdict
        else:
            was, now = (value if isinstance(value, Mapping) else _exact(value) for value in (old, new[key]))
            moved, bound = abs(now["mean"] - was["mean"]), allowed(label, was, sizes, other_device=other_device)
            if moved > 0:
                yield label, f"{was['mean']:g} -> {now['mean']:g}, moved {moved:.2g} of {bound:.2g}", moved <= bound
    for key in new.keys() - dict(figures(committed)).keys():
        yield f"{name}:{key}", "is new", False


def _exact(value: float) -> dict[str, Any]:
    return {"mean": value, "std": 0.0, "values": [value]}


def below_floor(path: Path, committed: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Those of the four k-NN figures on MNIST that no longer reach the figure to beat."""
    if path.parent.name == "mnist":
        for key in ("accuracy", "precision_macro", "recall_macro", "f1_macro"):
            was, now = (metrics["knn"][key]["mean"] for metrics in (committed, found))
            if now < KNN <= was:
                yield f"{path.stem}:knn.{key}", f"{now:g} is below {KNN}", False


def metrics_of(folder: Path) -> dict[Path, dict[str, Any]]:
    """The metrics files of a clone, by their path in it."""
    files = sorted((folder / METRICS).rglob("*.json"))
    return {
        path.relative_to(folder): json.loads(path.read_text(encoding="utf-8")) for path in files if path.name != "summary.json"
    }


def compare(
    committed: Mapping[Path, dict[str, Any]],
    found: Mapping[Path, dict[str, Any]],
    mnist: Mnist,
    *,
    other_device: bool = False,
) -> list[tuple[str, str, bool]]:
    """What differs between the metrics of two runs: the figure, by how much, and whether that is within tolerance."""
    sizes = {"test": mnist.test_images, "knn_validation": mnist.validation_images, "transfer": DIGITS}
    sizes |= dict.fromkeys(("robustness", "robustness_clean"), mnist.evaluation.robustness_images)
    rows: list[tuple[str, str, bool]] = []
    for path, metrics in committed.items():
        if path in found:
            rows += deviations(path.stem, metrics, found[path], sizes, other_device=other_device)
            rows += below_floor(path, metrics, found[path])
        else:
            rows.append((str(path), "is missing", False))
    return rows
