"""Stage mnist_compare: compare the methods on the images.

Writes reports/metrics/mnist/METHOD.json, all metrics of a method in both phases; and reports/mnist.md, tables of the downstream
tasks, of paired tests between embeddings and of the reconstructions.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.params import Params
from stages.dag import leftovers
from stages.metrics.paired import Correct, difference, holm, mcnemar
from stages.pipeline import artifacts, files, runner
from stages.pipeline.lookup import look_up
from stages.results.tables import cell, table

UNTRAINED, RAW = "untrained encoder", "raw pixels"
"""Labels of the two baselines in the tables."""


@dataclass(frozen=True)
class EvaluatedEmbedding:
    """The metrics of an embedding, and its results for each image.

    Attributes:
        metrics: nested, as in reports/metrics/mnist/METHOD.json.
        right: for each classifier, whether it is right about each test image, (M,).
        precision: average precision of each query, (Q,).
        robust: for each perturbation, whether k-NN is right about each image at full strength; empty if not measured.
    """

    metrics: Mapping[str, Any]
    right: Mapping[str, Correct]
    precision: NDArray[np.float64]
    robust: Mapping[str, Correct]


def main(params: Params) -> None:
    """Write the metrics of all methods and the tables."""
    leftovers.remove()
    methods, title = params.mnist.methods, params.mnist.title
    baseline = files.read_json(artifacts.BASELINE)
    metrics = {name: with_raw_pixels(files.read_json(artifacts.measured(name)), baseline) for name in methods}
    for name in params.mnist_reconstruct.methods:
        measured = files.read_json(artifacts.measured(f"{name}.reconstruction"))
        metrics[name]["reconstruction"] = measured | baseline["references"]
    for name, measured in metrics.items():
        files.write_json(artifacts.metrics("mnist", name), measured)
    fields = {name: files.read_arrays(artifacts.fields("mnist", name)) for name in methods}
    true = files.read_arrays(artifacts.data("mnist", "test"))["labels"]
    first = metrics[methods[0]]
    kinds = list(first["robustness"])
    trained = {name: _evaluated(title, metrics[name], fields[name], true, kinds) for name in methods}
    untrained = {
        name: _evaluated(
            title,
            {**metrics[name]["untrained"], "knn": metrics[name]["knn_untrained"]},
            fields[name],
            true,
            suffix="_untrained",
        )
        for name in methods
    }
    raw = _evaluated(
        title,
        {**first["raw_pixels"], "knn": first["knn_raw_pixels"]},
        files.read_arrays(artifacts.RAW_PIXELS),
        true,
        kinds,
    )
    # The untrained encoders have the same weights and differ only in the normalisation of embeddings: one is shown.
    shown = {**trained, UNTRAINED: untrained[methods[0]], RAW: raw}
    pairs = {(a, b): (trained[a], trained[b]) for a, b in itertools.combinations(methods, 2)}
    pairs |= {(name, UNTRAINED): (trained[name], untrained[name]) for name in methods}
    pairs |= {(name, RAW): (trained[name], raw) for name in methods}
    robust_pairs = {pair: both for pair, both in pairs.items() if all(one.robust for one in both)}
    parts = [
        downstream(title, shown),
        tests(title, "paired tests", {pair: (a.right, b.right) for pair, (a, b) in pairs.items()}),
        differences(title, pairs),
        tests(
            title,
            f"paired tests of k-NN on {params.mnist.evaluation.robustness_images:,} images perturbed at full strength",
            {pair: (a.robust, b.robust) for pair, (a, b) in robust_pairs.items()},
        ),
    ]
    parts += [reconstructions(title, name, metrics[name]["reconstruction"]) for name in params.mnist_reconstruct.methods]
    files.write_text(artifacts.MNIST_TABLES, "\n".join(parts))


def with_raw_pixels(measured: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a method, each group followed by the same group for raw pixels."""
    after = {"knn": {"knn_raw_pixels": baseline["knn_raw_pixels"]}, "untrained": {"raw_pixels": baseline["uses"]}}
    joined: dict[str, Any] = {}
    for key, value in measured.items():
        joined |= {key: value, **after.get(key, {})}
    return joined


def _evaluated(
    title: str,
    metrics: Mapping[str, Any],
    fields: Mapping[str, Any],
    true: NDArray[Any],
    kinds: Sequence[str] = (),
    suffix: str = "",
) -> EvaluatedEmbedding:
    """The embedding of the trained encoder or, with the suffix `_untrained`, of the untrained one."""
    right = {"k-NN": fields[f"predicted{suffix}"] == true, "linear probe": fields[f"probe_right{suffix}"]}
    right |= {name: fields[f"{key}_right{suffix}"] for name, key in transfers(title).items() if f"{key}_right" in fields}
    robust = {kind.replace("_", " "): fields["robust_right"][row, -1] for row, kind in enumerate(kinds)}
    return EvaluatedEmbedding(metrics, right, fields[f"average_precision{suffix}"], robust)


def transfers(title: str) -> dict[str, str]:
    """Label and key of each evaluation on scikit-learn's 8 × 8 digits; only data sets of digits have these."""
    return {"8 × 8 digits, leave one out": "leave_one_out", f"8 × 8 digits, from {title}": "from_training"}


def downstream(title: str, embeddings: Mapping[str, EvaluatedEmbedding]) -> str:
    """A titled Markdown table of the embeddings' results on downstream tasks."""
    first = next(iter(embeddings.values())).metrics
    counts, transferred = list(first["few_labels"]), first.get("transfer", {})
    columns = {
        "k-NN": "knn.accuracy",
        "linear probe": "linear_probe.accuracy",
        **{f"probe with {count} labels": f"few_labels.{count}" for count in counts},
        "retrieval, mAP": "retrieval.map",
        **{name: f"transfer.{key}" for name, key in transfers(title).items() if key in transferred},
    }
    rows = ([name, *(cell(look_up(v.metrics, key)) for key in columns.values())] for name, v in embeddings.items())
    return f"**{title}, downstream tasks**\n\n" + table(["embedding", *columns], rows)


Pairs = Mapping[tuple[str, str], tuple[EvaluatedEmbedding, EvaluatedEmbedding]]


def tests(title: str, label: str, pairs: Mapping[tuple[str, str], tuple[Mapping[str, Correct], Mapping[str, Correct]]]) -> str:
    """A titled Markdown table of McNemar's tests on the same images, with Holm's correction within each column."""
    classifiers = list(next(iter(pairs.values()))[0])
    columns = []
    for classifier in classifiers:
        found = [mcnemar(first[classifier], second[classifier]) for first, second in pairs.values()]
        adjusted = holm([test["p"] for test in found])
        columns.append([f"{test['difference']:+.4f} ({p:.2g})" for test, p in zip(found, adjusted, strict=True)])
    rows = [[f"{a} – {b}", *row] for (a, b), row in zip(pairs, zip(*columns, strict=True), strict=True)]
    heading = f"**{title}, {label}: difference of accuracies (p of McNemar's exact test with Holm's correction)**\n\n"
    return heading + table(["embeddings", *classifiers], rows)


def differences(title: str, pairs: Pairs) -> str:
    """A titled Markdown table of paired differences: of average precision over queries, of few-label accuracy over draws."""
    counts = list(next(iter(pairs.values()))[0].metrics["few_labels"])
    rows = []
    for (a, b), (first, second) in pairs.items():
        by_draw = [[np.array(one.metrics["few_labels"][count]["values"]) for one in (first, second)] for count in counts]
        found = [difference(first.precision, second.precision), *(difference(*both) for both in by_draw)]
        rows.append([f"{a} – {b}", *(f"{mean:+.4f} ± {error:.4f}" for mean, error in found)])
    header = ["embeddings", "retrieval, mAP", *(f"probe with {count} labels" for count in counts)]
    return f"**{title}, paired differences, mean ± standard error**\n\n" + table(header, rows)


def reconstructions(title: str, name: str, metrics: Mapping[str, Any]) -> str:
    """A titled Markdown table of the distance of reconstructions from the clean image, by input, with two references."""
    pca = next(key.removesuffix("_mse") for key in metrics if key.startswith("pca") and key.endswith("_mse"))
    rows: list[tuple[str, Mapping[str, Any]]] = [
        ("augmented as in training", metrics),
        ("augmented as in training, without affine maps", metrics["without_affine"]),
        ("clean", metrics["clean"]),
    ]
    for kind, strengths in metrics["per_perturbation"].items():
        strongest = list(strengths)[-1]
        rows.append((f"{kind.replace('_', ' ')}, strength {strongest}", strengths[strongest]))
    for label, key in (("mean training image", "mean_image"), (f"PCA of the clean image, {pca[3:]} components", pca)):
        rows.append((label, {measure: metrics[f"{key}_{measure}"] for measure in ("mse", "psnr", "ssim")}))
    cells = ([label, *(cell(values[key]) for key in ("mse", "psnr", "ssim"))] for label, values in rows)
    heading = f"**{title}, reconstructions by {name}**\n\n"
    return heading + table(["input or reference", "MSE", "PSNR, dB", "SSIM"], cells)


if __name__ == "__main__":
    runner.run(main, threads=1)
