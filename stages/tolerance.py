"""Whether the metrics of a run are those of another one, within what chance explains.

On a machine like the committed run's they are equal to the last byte. Another processor gives other last digits, which a
training amplifies until it amounts to another seed. So a figure over S seeds may move by four standard errors of the difference
of two means, 4 · std · √(2/S). A figure of a single training has no spread of its own: a fraction p of N images may move by
4 √(2 p(1 − p)/N), as for two independent trainings; what needs no training moves by rounding alone, and any other figure by
as much as `SINGLE` says. The four k-NN figures on MNIST have to reach the figure to beat where the committed ones do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.goals import KNN
from stages.schema import Mnist

METRICS = Path("reports/metrics")
UNTRAINED = ("raw", "untrained", "mean_image", "pca", "bayes", "ceiling", "floor", "ideal", "control_")
"""What marks the name of a figure that no training enters."""
ROUNDING = 2e-3
"""Relative change of such a figure: k-NN decides a few ties otherwise."""
SINGLE = {"collapse": 0.5}
"""Relative change of the figures of a single training that are no fractions, .05 where a group has none of its own: about four
times what they vary over seeds."""


def figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All measured figures and verdicts with their dotted names."""
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and "mean" not in value:
            yield from figures(value, f"{name}.")
        else:
            yield name, value


def allowed(name: str, figure: Mapping[str, Any], sizes: Mapping[str, int]) -> float:
    """How far the mean of a committed figure may move; `sizes` has the number of images of each set."""
    mean, seeds = figure["mean"], len(figure["values"])
    if any(word in name for word in UNTRAINED):
        return ROUNDING * abs(mean) + 4 * figure["std"] * math.sqrt(2 / seeds)
    if seeds > 1:
        return 4 * figure["std"] * math.sqrt(2 / seeds) + 1e-3 * abs(mean)
    group = name.split(".")[0]
    if group in ("knn", "knn_validation", "linear_probe", "robustness", "robustness_clean"):
        count = sizes.get(group, sizes["test"])
        return 4 * math.sqrt(2 * max(mean * (1 - mean), 1 / count) / count)
    return SINGLE.get(group, 0.05) * abs(mean)


def deviations(
    name: str, committed: Mapping[str, Any], found: Mapping[str, Any], sizes: Mapping[str, int]
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
            moved, bound = abs(now["mean"] - was["mean"]), allowed(key, was, sizes)
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
    committed: Mapping[Path, dict[str, Any]], found: Mapping[Path, dict[str, Any]], mnist: Mnist
) -> list[tuple[str, str, bool]]:
    """What differs between the metrics of two runs: the figure, by how much, and whether that is within tolerance."""
    sizes = {"test": mnist.test_images, "knn_validation": mnist.validation_images}
    sizes |= dict.fromkeys(("robustness", "robustness_clean"), mnist.robustness_images)
    rows: list[tuple[str, str, bool]] = []
    for path, metrics in committed.items():
        if path in found:
            rows += deviations(path.stem, metrics, found[path], sizes)
            rows += below_floor(path, metrics, found[path])
        else:
            rows.append((str(path), "is missing", False))
    return rows
