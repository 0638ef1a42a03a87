"""Stage mnist_compare: the methods on the images against each other.

Writes reports/metrics/mnist/METHOD.json, all that was measured of a method in both phases; reports/mnist.md, the uses of the
embeddings and McNemar's test of every two classifiers; and to reports/figures/mnist/ robustness.png and few_labels.png.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages import runtime
from stages.lookup import look_up
from stages.metrics.paired import Right, mcnemar
from stages.params import Params
from stages.plots import images
from stages.plots.canvas import write_png
from stages.tables import cell, table

MEASURED = Path("reports/measured/mnist")
FIELDS = Path("reports/fields/mnist")
FIGURES = Path("reports/figures/mnist")
UNTRAINED, RAW = "untrained encoder", "raw pixels"


def main(params: Params) -> None:
    """Put the methods on the images side by side."""
    methods = params.mnist.methods
    metrics = {name: runtime.read_json(MEASURED / f"{name}.json") for name in methods}
    for name in params.mnist_reconstruct.methods:
        metrics[name]["reconstruction"] = runtime.read_json(MEASURED / f"{name}.reconstruction.json")
    for name, measured in metrics.items():
        runtime.write_json(Path(f"reports/metrics/mnist/{name}.json"), measured)
    true = runtime.read_arrays(Path("data/mnist/test.npz"))["labels"]
    right = {name: runtime.read_arrays(FIELDS / f"{name}.npz")["predicted"] == true for name in methods}
    right[UNTRAINED] = runtime.read_arrays(FIELDS / f"{methods[0]}.npz")["predicted_untrained"] == true
    right[RAW] = runtime.read_arrays(FIELDS / "raw_pixels.npz")["predicted"] == true
    contestants = dict(_contestants(metrics))
    runtime.write_text(Path("reports/mnist.md"), f"{uses(contestants)}\n{tests(right)}")
    write_png(FIGURES / "robustness.png", images.robustness_of_all({m: v["robustness"] for m, v in metrics.items()}))
    write_png(FIGURES / "few_labels.png", images.few_labels({who: v["few_labels"] for who, v in contestants.items()}))


def _contestants(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is compared: every method, then an encoder before training and raw pixels, with their figures."""
    yield from metrics.items()
    first = next(iter(metrics.values()))
    yield UNTRAINED, {**first["untrained"], "knn": first["knn_untrained"]}
    yield RAW, {**first["raw_pixels"], "knn": first["knn_raw_pixels"]}


def uses(contestants: Mapping[str, Mapping[str, Any]]) -> str:
    """What the embeddings are good for, as a titled Markdown table."""
    counts = list(next(iter(contestants.values()))["few_labels"])
    columns = {
        "k-NN": "knn.accuracy",
        "linear probe": "linear_probe.accuracy",
        **{f"probe with {count} labels": f"few_labels.{count}" for count in counts},
        "retrieval, mAP": "retrieval.map",
        "8 × 8 digits, leave one out": "transfer.leave_one_out",
        "8 × 8 digits, from MNIST": "transfer.from_mnist",
    }
    rows = ([who, *(cell(look_up(figures, key)) for key in columns.values())] for who, figures in contestants.items())
    return "**MNIST, uses of the embeddings**\n\n" + table(["embedding", *columns], rows)


def tests(right: Mapping[str, Right]) -> str:
    """McNemar's test of every two classifiers, as a titled Markdown table.

    Args:
        right: of each classifier, which test images (N,) it gets right.
    """
    rows = []
    for first, second in itertools.combinations(right, 2):
        test = mcnemar(right[first], right[second])
        alone = f"{test['only_first']} / {test['only_second']}"
        rows.append([f"{first} – {second}", f"{test['difference']:+.4f}", alone, f"{test['p']:.2g}"])
    header = ["k-NN of", "difference of accuracies", "right alone: first / second", "p, McNemar's exact test"]
    return "**MNIST, paired tests**\n\n" + table(header, rows)


if __name__ == "__main__":
    runtime.run(main)
