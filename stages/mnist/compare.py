"""Stage mnist_compare: the methods on the images against each other.

Writes reports/metrics/mnist/METHOD.json, all that was measured of a method in both phases; and reports/mnist.md, the uses of
the embeddings, paired tests of every two of them and the reconstructions.
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
from stages.metrics.paired import Right, difference, holm, mcnemar
from stages.pipeline import artifacts, files, runner
from stages.pipeline.lookup import look_up
from stages.results.tables import cell, table

UNTRAINED, RAW = "untrained encoder", "raw pixels"


@dataclass(frozen=True)
class Contestant:
    """An embedding that is compared: its figures, and what is known of them image by image.

    `right` says of each classifier which images it gets right, `precision` has the average precision of each query. `robust`
    says which images k-NN gets right under each perturbation at full strength, and is empty where nobody measured that.
    """

    figures: Mapping[str, Any]
    right: Mapping[str, Right]
    precision: NDArray[np.float64]
    robust: Mapping[str, Right]


def main(params: Params) -> None:
    """Put the methods on the images side by side."""
    leftovers.remove()
    methods, title = params.mnist.methods, params.mnist.title
    baseline = files.read_json(artifacts.BASELINE)
    metrics = {name: beside_raw_pixels(files.read_json(artifacts.measured(name)), baseline) for name in methods}
    for name in params.mnist_reconstruct.methods:
        measured = files.read_json(artifacts.measured(f"{name}.reconstruction"))
        metrics[name]["reconstruction"] = measured | baseline["references"]
    for name, measured in metrics.items():
        files.write_json(artifacts.metrics("mnist", name), measured)
    fields = {name: files.read_arrays(artifacts.fields("mnist", name)) for name in methods}
    true = files.read_arrays(artifacts.data("mnist", "test"))["labels"]
    first = metrics[methods[0]]
    kinds = list(first["robustness"])
    trained = {name: _contestant(title, metrics[name], fields[name], true, kinds) for name in methods}
    untrained = {
        name: _contestant(
            title, {**metrics[name]["untrained"], "knn": metrics[name]["knn_untrained"]}, fields[name], true, which="_untrained"
        )
        for name in methods
    }
    raw = _contestant(
        title,
        {**first["raw_pixels"], "knn": first["knn_raw_pixels"]},
        files.read_arrays(artifacts.RAW_PIXELS),
        true,
        kinds,
    )
    # One untrained encoder stands for all in tables and pictures: they differ in nothing but whether lengths are seen.
    shown = {**trained, UNTRAINED: untrained[methods[0]], RAW: raw}
    pairs = {(a, b): (trained[a], trained[b]) for a, b in itertools.combinations(methods, 2)}
    pairs |= {(name, UNTRAINED): (trained[name], untrained[name]) for name in methods}
    pairs |= {(name, RAW): (trained[name], raw) for name in methods}
    robust_pairs = {pair: both for pair, both in pairs.items() if all(one.robust for one in both)}
    parts = [
        uses(title, shown),
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


def beside_raw_pixels(measured: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a method with those of raw pixels in their places."""
    after = {"knn": {"knn_raw_pixels": baseline["knn_raw_pixels"]}, "untrained": {"raw_pixels": baseline["uses"]}}
    joined: dict[str, Any] = {}
    for key, value in measured.items():
        joined |= {key: value, **after.get(key, {})}
    return joined


def _contestant(
    title: str,
    figures: Mapping[str, Any],
    fields: Mapping[str, Any],
    true: NDArray[Any],
    kinds: Sequence[str] = (),
    which: str = "",
) -> Contestant:
    """What the evaluation noted of an embedding: of the trained encoder, or with `which` of the untrained one."""
    right = {"k-NN": fields[f"predicted{which}"] == true, "linear probe": fields[f"probe_right{which}"]}
    right |= {name: fields[f"{key}_right{which}"] for name, key in transfers(title).items() if f"{key}_right" in fields}
    robust = {kind.replace("_", " "): fields["robust_right"][row, -1] for row, kind in enumerate(kinds)}
    return Contestant(figures, right, fields[f"average_precision{which}"], robust)


def transfers(title: str) -> dict[str, str]:
    """The ways of transfer to other digits, where there are any: what they are called, and the key of each."""
    return {"8 × 8 digits, leave one out": "leave_one_out", f"8 × 8 digits, from {title}": "from_training"}


def uses(title: str, contestants: Mapping[str, Contestant]) -> str:
    """What the embeddings are good for, as a titled Markdown table."""
    first = next(iter(contestants.values())).figures
    counts, transferred = list(first["few_labels"]), first.get("transfer", {})
    columns = {
        "k-NN": "knn.accuracy",
        "linear probe": "linear_probe.accuracy",
        **{f"probe with {count} labels": f"few_labels.{count}" for count in counts},
        "retrieval, mAP": "retrieval.map",
        **{name: f"transfer.{key}" for name, key in transfers(title).items() if key in transferred},
    }
    rows = ([who, *(cell(look_up(v.figures, key)) for key in columns.values())] for who, v in contestants.items())
    return f"**{title}, uses of the embeddings**\n\n" + table(["embedding", *columns], rows)


Pairs = Mapping[tuple[str, str], tuple[Contestant, Contestant]]


def tests(title: str, what: str, pairs: Mapping[tuple[str, str], tuple[Mapping[str, Right], Mapping[str, Right]]]) -> str:
    """McNemar's test of every two classifiers on the same images, Holm's correction within each column, as a Markdown table."""
    classifiers = list(next(iter(pairs.values()))[0])
    columns = []
    for classifier in classifiers:
        found = [mcnemar(first[classifier], second[classifier]) for first, second in pairs.values()]
        adjusted = holm([test["p"] for test in found])
        columns.append([f"{test['difference']:+.4f} ({p:.2g})" for test, p in zip(found, adjusted, strict=True)])
    rows = [[f"{a} – {b}", *row] for (a, b), row in zip(pairs, zip(*columns, strict=True), strict=True)]
    heading = f"**{title}, {what}: difference of accuracies (p of McNemar's exact test, after Holm)**\n\n"
    return heading + table(["embeddings", *classifiers], rows)


def differences(title: str, pairs: Pairs) -> str:
    """Paired differences where there is no right and wrong: by query, and by draw of the labelled images."""
    counts = list(next(iter(pairs.values()))[0].figures["few_labels"])
    rows = []
    for (a, b), (first, second) in pairs.items():
        by_draw = [[np.array(one.figures["few_labels"][count]["values"]) for one in (first, second)] for count in counts]
        found = [difference(first.precision, second.precision), *(difference(*both) for both in by_draw)]
        rows.append([f"{a} – {b}", *(f"{mean:+.4f} ± {error:.4f}" for mean, error in found)])
    header = ["embeddings", "retrieval, mAP", *(f"probe with {count} labels" for count in counts)]
    return f"**{title}, paired differences ± their standard errors**\n\n" + table(header, rows)


def reconstructions(title: str, name: str, figures: Mapping[str, Any]) -> str:
    """How close reconstructions come to the clean image, from where they start, as a titled Markdown table."""
    pca = next(key.removesuffix("_mse") for key in figures if key.startswith("pca") and key.endswith("_mse"))
    rows: list[tuple[str, Mapping[str, Any]]] = [
        ("perturbed as in training", figures),
        ("the same without affine maps", figures["without_affine"]),
        ("clean", figures["clean"]),
    ]
    for kind, strengths in figures["per_perturbation"].items():
        strongest = list(strengths)[-1]
        rows.append((f"{kind.replace('_', ' ')}, strength {strongest}", strengths[strongest]))
    for words, key in (("mean training image", "mean_image"), (f"clean, by {pca[3:]} principal components", pca)):
        rows.append((words, {measure: figures[f"{key}_{measure}"] for measure in ("mse", "psnr", "ssim")}))
    cells = ([words, *(cell(found[key]) for key in ("mse", "psnr", "ssim"))] for words, found in rows)
    return f"**{title}, reconstructions by {name}**\n\n" + table(["from", "MSE", "PSNR, dB", "SSIM"], cells)


if __name__ == "__main__":
    runner.run(main, threads=1)
