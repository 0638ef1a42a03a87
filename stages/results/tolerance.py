"""Whether the metrics of two runs agree within statistical tolerance.

On machines with the same facts the metrics are equal to the last byte. Another processor rounds differently, which a training
amplifies until it amounts to another seed. So a metric over S seeds may change by four standard errors of the difference of two
means, 4 · std · √(2/S). A metric of a single training has no spread of its own: a fraction p of N images may change by
4 √(2 p(1 − p)/N), as for two independent trainings, and any other metric by the fraction in `SINGLE`. A metric that no training
enters changes by rounding only, which breaks a few ties of k-NN differently. The four k-NN metrics on MNIST must reach the
target if the committed ones do.
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
"""Folder of all metrics files."""
UNTRAINED = (
    *("raw", "untrained", "mean_image", "pca", "bayes", "ceiling", "floor", "ideal", "control_", "mnist_baseline"),
    *("exact", "accuracy_baseline", "outside_baseline"),
)
"""Parts of the names of metrics that no training enters."""
EXACT = ("thousand_images_seen",)
"""Metrics that the params alone determine."""
FRACTIONS = (
    *("knn", "knn_validation", "linear_probe", "robustness", "robustness_clean", "transfer"),
    *("precision", "recall", "memorised"),
)
"""Groups of metrics that are fractions of images."""
COUNTED = {"escaped", "delta_knn_accuracy_raw", "delta_knn_accuracy_untrained"}
"""Fractions of points, or differences of fractions, that may be 0 for all seeds."""
FEW = 2e-3
"""Smallest tolerance of such a fraction: two points of a thousand."""
DIGITS = 1797
"""Number of images in scikit-learn's digits, to which embeddings are transferred."""
ROUNDING = 2e-3
"""Relative tolerance of a metric that no training enters."""
TIES = 3
"""Number of images that may be classified differently if no training enters."""
SINGLE = {"collapse": 0.5, "per_perturbation": 0.2, "clean": 0.12, "score": 0.2}
"""Relative tolerance of metrics of a single training that are not fractions, by a part of their name: about four times their
standard deviation over seeds, for reconstructions as measured in the study mnist_reconstruct, for scores of images over three
seeds."""
SAMPLED = {"mode_weight_tv": 0.08, "log_density_gap": 14.0, "frechet_distance": 0.03, "kl_standard_error": 2.0}
"""Absolute tolerance of metrics of some hundred samples of a single training, likewise; the embedding in which the Fréchet
distance is measured is trained too."""
ROUND_OFF = 1e-12
"""Smallest tolerance: metrics below it are rounding errors."""
OTHERS = 0.05
"""The same for names without such a part."""
SAME_NOISE = {"heldout_loss", "batch_dependence"}
"""Metrics for which all seeds share the same noise, so that their spread over seeds does not cover the choice of the noise.
Another device generates other noise; there these metrics may change by `OTHERS`."""


def flattened(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All metrics and verdicts with their dotted names."""
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "mean" not in value:
            yield from flattened(value, f"{name}.")
        else:
            yield name, value


def allowed(name: str, metric: Mapping[str, Any], sizes: Mapping[str, int], *, other_device: bool = False) -> float:
    """The tolerance of the mean of a metric.

    Args:
        name: name of the metric, as FILE:GROUP.….NAME.
        metric: the committed metric.
        sizes: the number of images of each set.
        other_device: whether the other run used another kind of device.
    """
    parts = re.split("[.:]", name)
    mean, seeds = metric["mean"], len(metric["values"])
    if set(EXACT) & set(parts):
        return 0.0
    if seeds == 1 and (sampled := next((SAMPLED[part] for part in parts if part in SAMPLED), None)):
        return sampled
    spread = 4 * metric["std"] * math.sqrt(2 / seeds)
    group = next((part for part in parts if part in FRACTIONS), None)
    count = sizes.get(group, sizes["test"]) if group else 0
    if COUNTED & set(parts):
        return max(spread + 1e-3 * abs(mean), FEW)
    if any(part in name for part in UNTRAINED):
        # Samples of labelled images are the same in every run.
        return max(ROUNDING * abs(mean), TIES / count if count else 0) + (0 if "few_labels" in parts else spread)
    if seeds > 1:
        least = OTHERS * abs(mean) if other_device and SAME_NOISE & set(parts) else 0
        return max(spread + 1e-3 * abs(mean), least)
    if count:
        # Under strong perturbations trainings differ by more than the images' sampling error (study strengths: std .02 to .03).
        variance = 1 / 4 if group == "robustness" else max(mean * (1 - mean), 1 / count)
        return 4 * math.sqrt(2 * variance / count)
    share = next((tolerance for part, tolerance in SINGLE.items() if part in parts), OTHERS)
    # PSNR in decibels is 10 log₁₀ of the inverse squared error.
    return 10 * math.log10(1 + share) if parts[-1] == "psnr" else max(share * abs(mean), ROUND_OFF)


def deviations(
    name: str,
    committed: Mapping[str, Any],
    found: Mapping[str, Any],
    sizes: Mapping[str, int],
    *,
    other_device: bool = False,
) -> Iterator[tuple[str, str, bool]]:
    """The differences between two metrics files: metric, description, and whether the difference is within tolerance."""
    new = dict(flattened(found))
    for key, old in flattened(committed):
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
            change, tolerance = abs(now["mean"] - was["mean"]), allowed(label, was, sizes, other_device=other_device)
            if change > 0:
                how = f"{was['mean']:g} -> {now['mean']:g}, changed by {change:.2g}, tolerance {tolerance:.2g}"
                yield label, how, change <= tolerance
    for key in new.keys() - dict(flattened(committed)).keys():
        yield f"{name}:{key}", "is new", False


def _exact(value: float) -> dict[str, Any]:
    return {"mean": value, "std": 0.0, "values": [value]}


def below_floor(path: Path, committed: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Those of the four k-NN metrics on MNIST that no longer reach the target."""
    if path.parent.name == "mnist":
        for key in ("accuracy", "precision_macro", "recall_macro", "f1_macro"):
            was, now = (metrics["knn"][key]["mean"] for metrics in (committed, found))
            if now < KNN <= was:
                yield f"{path.stem}:knn.{key}", f"{now:g} is below {KNN}", False


def metrics_of(folder: Path) -> dict[Path, dict[str, Any]]:
    """The metrics files of a clone, by their relative path."""
    files = sorted((folder / METRICS).rglob("*.json"))
    return {
        path.relative_to(folder): json.loads(path.read_text(encoding="utf-8")) for path in files if path.name != "summary.json"
    }


def compare(
    committed: Mapping[Path, dict[str, Any]],
    found: Mapping[Path, dict[str, Any]],
    mnist: Mnist,
    samples: int,
    *,
    other_device: bool = False,
) -> list[tuple[str, str, bool]]:
    """The differences between the metrics of two runs: metric, description, and whether the difference is within tolerance.

    Args:
        committed, found: content of the metrics files, by path.
        mnist: the params block `mnist`.
        samples: generated images, `pixels.samples`.
        other_device: whether the other run used another kind of device.
    """
    sizes = {"test": mnist.test_images, "knn_validation": mnist.validation_images, "transfer": DIGITS}
    sizes |= dict.fromkeys(("robustness", "robustness_clean"), mnist.evaluation.robustness_images)
    sizes |= dict.fromkeys(("precision", "recall", "memorised"), samples)
    rows: list[tuple[str, str, bool]] = []
    for path, metrics in committed.items():
        if path in found:
            rows += deviations(path.stem, metrics, found[path], sizes, other_device=other_device)
            rows += below_floor(path, metrics, found[path])
        else:
            rows.append((str(path), "is missing", False))
    return rows
