"""Stage mnist_compare: compare the methods on the images.

Writes reports/metrics/mnist/METHOD.json, all metrics of a method in both phases; reports/mnist_tests.json, the paired tests
between all embeddings, and a warning for each method that does not beat the baselines; and reports/mnist.md, the warnings and
tables of the tasks, the verdicts and the reconstructions.

In mnist_tests.json, `tests` has an entry per task and pair: `task`; `first` and `second`, the embeddings; `test`, McNemar's
exact test over images or the paired t-test over queries or draws, and what stages/metrics/paired.py returns for it: the
`difference` of first minus second, `p` and more; `adjusted_p`, with Holm's correction over the pairs of the task; and the
`verdict` on the first one at the significance level `level`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.params import Params
from stages.dag import leftovers
from stages.metrics.paired import LEVEL, NO_DIFFERENCE, holm, mcnemar, paired_t, verdict
from stages.pipeline import artifacts, files, runner
from stages.results.tables import cell, table

UNTRAINED, RAW = "untrained encoder", "raw pixels"
"""Labels of the two baselines in the tables."""
KNN = "k-NN"
"""Label of the task by which methods are held against the baselines."""


@dataclass(frozen=True)
class Result:
    """The result of an embedding on a task.

    Attributes:
        measured: the metric.
        each: whether a classifier is right about each image, or the value of each query or draw; (N,).
    """

    measured: Mapping[str, Any]
    each: NDArray[Any]


Results = Mapping[str, Result]
"""The results of an embedding by task."""
Pairs = Mapping[tuple[str, str], tuple[Results, Results]]
"""The names and the results of the embeddings of each pair."""


def main(params: Params) -> None:
    """Write the metrics of all methods, the tests and the tables."""
    leftovers.remove()
    methods, title, evaluation = params.mnist.methods, params.mnist.title, params.mnist.evaluation
    baseline = files.read_json(artifacts.BASELINE)
    metrics = {name: with_raw_pixels(files.read_json(artifacts.measured(name)), baseline) for name in methods}
    for name in params.mnist_reconstruct.methods:
        measured = files.read_json(artifacts.measured(f"{name}.reconstruction"))
        metrics[name]["reconstruction"] = measured | baseline["references"]
    for name, measured in metrics.items():
        files.write_json(artifacts.metrics("mnist", name), measured)
    fields = {name: files.read_arrays(artifacts.fields("mnist", name)) for name in methods}
    raw_fields = files.read_arrays(artifacts.RAW_PIXELS)
    true = files.read_arrays(artifacts.data("mnist", "test"))["labels"]
    first = metrics[methods[0]]
    of_raw = {**first["raw_pixels"], "knn": first["knn_raw_pixels"]}
    of_untrained = {name: {**m["untrained"], "knn": m["knn_untrained"]} for name, m in metrics.items()}
    trained = {name: tasks(title, metrics[name], fields[name], true) for name in methods}
    untrained = {name: tasks(title, of_untrained[name], fields[name], true, "_untrained") for name in methods}
    raw = tasks(title, of_raw, raw_fields, true)
    # The untrained encoders have the same weights and differ only in the normalisation of embeddings: one is shown.
    shown = {**trained, UNTRAINED: untrained[methods[0]], RAW: raw}
    pairs = all_pairs(trained, untrained, raw)
    robust = {name: perturbed(metrics[name], fields[name]) for name in methods} | {RAW: perturbed(of_raw, raw_fields)}
    robust_pairs = {(a, b): (robust[a], robust[b]) for a, b in itertools.combinations(robust, 2)}
    tests = [*paired_tests(pairs), *paired_tests(robust_pairs)]
    warned = warnings(tests, trained, shown)
    for text in warned:
        print(f"warning: {text}", flush=True)
    files.write_json(artifacts.MNIST_TESTS, {"level": LEVEL, "warnings": warned, "tests": tests})
    strongest, count = f"{100 * evaluation.strengths[-1]:.0f} %", raw_fields["robust_right"].shape[-1]
    parts = [
        *(f"**Warning:** {text}\n" for text in warned),
        accuracies(f"{title}, downstream tasks", tests, shown) + f"\n{LEGEND}\n",
        verdicts(f"{title}, k-NN: verdicts of paired tests", tests, shown),
        accuracies(
            f"{title}, k-NN on {count:,} images perturbed at {strongest} of the strongest setting",
            tests,
            robust,
        )
        + f"\n{LEGEND}\n",
    ]
    parts += [reconstructions(title, name, metrics[name]["reconstruction"]) for name in params.mnist_reconstruct.methods]
    files.write_text(artifacts.MNIST_TABLES, "\n".join(parts))


LEGEND = (
    f"Bold: the best of a column, and all that a paired test does not find worse at {100 * LEVEL:.0f} %. "
    "↓: worse than raw pixels."
)
"""What the marks in the tables of accuracies mean."""


def with_raw_pixels(measured: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a method, each group followed by the same group for raw pixels."""
    after = {"knn": {"knn_raw_pixels": baseline["knn_raw_pixels"]}, "untrained": {"raw_pixels": baseline["uses"]}}
    joined: dict[str, Any] = {}
    for key, value in measured.items():
        joined |= {key: value, **after.get(key, {})}
    return joined


def tasks(
    title: str, metrics: Mapping[str, Any], fields: Mapping[str, NDArray[Any]], true: NDArray[np.int64], suffix: str = ""
) -> Results:
    """The results of the trained encoder or, with the suffix `_untrained`, of the untrained one on the downstream tasks.

    Args:
        title: of the data set.
        metrics: of the embedding, as in reports/metrics/mnist/METHOD.json.
        fields: of the method, or of raw pixels.
        true: classes of the test images, (M,).
        suffix: of the fields.
    """
    found = {
        KNN: Result(metrics["knn"]["accuracy"], fields[f"predicted{suffix}"] == true),
        "linear probe": Result(metrics["linear_probe"]["accuracy"], fields[f"probe_right{suffix}"]),
    }
    for count, accuracy in metrics["few_labels"].items():
        found[f"probe with {count} labels"] = Result(accuracy, np.array(accuracy["values"]))
    found["retrieval, mAP"] = Result(metrics["retrieval"]["map"], fields[f"average_precision{suffix}"])
    # Only data sets of digits are transferred to scikit-learn's 8 × 8 digits.
    for label, key in (("leave one out", "leave_one_out"), (f"from {title}", "from_training")):
        if key in metrics.get("transfer", {}):
            found[f"8 × 8 digits, {label}"] = Result(metrics["transfer"][key], fields[f"{key}_right{suffix}"])
    return found


def perturbed(metrics: Mapping[str, Any], fields: Mapping[str, NDArray[Any]]) -> Results:
    """The results of k-NN on images under each perturbation at its largest strength."""
    robust = metrics["robustness"].items()
    return {
        kind.replace("_", " "): Result(list(by_strength.values())[-1], fields["robust_right"][row, -1])
        for row, (kind, by_strength) in enumerate(robust)
    }


def all_pairs(trained: Mapping[str, Results], untrained: Mapping[str, Results], raw: Results) -> Pairs:
    """All pairs of trained encoders, untrained encoder and raw pixels.

    Args:
        trained: results of each method.
        untrained: results of the untrained encoder with each method's normalisation; a method is paired with its own.
        raw: results of raw pixels.
    """
    methods = list(trained)
    pairs = {(a, b): (trained[a], trained[b]) for a, b in itertools.combinations(methods, 2)}
    pairs |= {(name, UNTRAINED): (trained[name], untrained[name]) for name in methods}
    pairs |= {(name, RAW): (trained[name], raw) for name in methods}
    return {**pairs, (UNTRAINED, RAW): (untrained[methods[0]], raw)}


def paired_tests(pairs: Pairs) -> list[dict[str, Any]]:
    """A paired test of each pair on each task, with Holm's correction over the pairs of a task."""
    found = []
    for task in next(iter(pairs.values()))[0]:
        of_task = []
        for (first, second), both in pairs.items():
            a, b = (results[task].each for results in both)
            binary = a.dtype == np.bool_
            test = {"test": "McNemar", **mcnemar(a, b)} if binary else {"test": "paired t", **paired_t(a, b)}
            of_task.append({"task": task, "first": first, "second": second, **test})
        for test, p in zip(of_task, holm([test["p"] for test in of_task]), strict=True):
            found.append({**test, "adjusted_p": float(f"{p:.3g}"), "verdict": verdict(test["difference"], p)})
    return found


REVERSED = {"better": "worse", "worse": "better", NO_DIFFERENCE: NO_DIFFERENCE}
"""The verdict on the second of two embeddings, by that on the first."""
Tests = Sequence[Mapping[str, Any]]
"""Entries of mnist_tests.json."""


def compared(tests: Tests, task: str, name: str, other: str) -> tuple[float, str]:
    """The difference of one embedding to another on a task, and the verdict on the first of the two."""
    for test in tests:
        if test["task"] == task and (test["first"], test["second"]) == (name, other):
            return test["difference"], test["verdict"]
        if test["task"] == task and (test["first"], test["second"]) == (other, name):
            return 0.0 - test["difference"], REVERSED[test["verdict"]]
    raise KeyError((task, name, other))


def warnings(tests: Tests, methods: Iterable[str], shown: Mapping[str, Results]) -> list[str]:
    """A sentence for each method whose k-NN accuracy is not significantly above those of the untrained encoder and raw pixels.

    Args:
        tests: of all pairs.
        methods: the trained encoders.
        shown: results of all embeddings, the baselines included.
    """
    found = []
    for name in methods:
        against = {other: compared(tests, KNN, name, other)[1] for other in (UNTRAINED, RAW)}
        relation = {"worse": "lower than", NO_DIFFERENCE: "not significantly above"}
        failed = [
            f"{relation[outcome]} that of {'the ' if other == UNTRAINED else ''}{other} ({_mean(shown[other][KNN]):.4f})"
            for other, outcome in against.items()
            if outcome in relation
        ]
        if failed:
            found.append(
                f"the k-NN accuracy of {name} ({_mean(shown[name][KNN]):.4f}) is {' and '.join(failed)}: "
                "augmentations that do not suit the data, a short training or few test images may be the cause "
                "(docs/how-to/data-set.md)"
            )
    return found


def _mean(result: Result) -> float:
    return float(result.measured["mean"])


def best(shown: Mapping[str, Results], task: str) -> str:
    """The embedding with the highest mean on a task."""
    return max(shown, key=lambda name: _mean(shown[name][task]))


def accuracies(heading: str, tests: Tests, shown: Mapping[str, Results]) -> str:
    """A titled Markdown table of all embeddings on all tasks, with the marks that `LEGEND` explains."""
    columns = list(next(iter(shown.values())))
    top = {task: best(shown, task) for task in columns}

    def marked(name: str, task: str) -> str:
        text = cell(shown[name][task].measured)
        if name == top[task] or compared(tests, task, name, top[task])[1] == NO_DIFFERENCE:
            text = f"**{text}**"
        return text + (" ↓" if name != RAW and compared(tests, task, name, RAW)[1] == "worse" else "")

    rows = ([name, *(marked(name, task) for task in columns)] for name in shown)
    return f"**{heading}**\n\n" + table(["embedding", *columns], rows)


def verdicts(heading: str, tests: Tests, shown: Mapping[str, Results]) -> str:
    """A titled Markdown table of k-NN: difference of each embedding to the best one and to the baselines, with the verdict."""
    top = best(shown, KNN)
    baselines = {UNTRAINED: f"against the {UNTRAINED}", RAW: f"against {RAW}"}
    others = {top: f"{baselines.pop(top, f'against {top}')}, the best", **baselines}

    def against(name: str, other: str) -> str:
        if name == other:
            return "–"
        difference, outcome = compared(tests, KNN, name, other)
        return f"{difference:+.4f}, {outcome}"

    rows = ([name, cell(of[KNN].measured), *(against(name, other) for other in others)] for name, of in shown.items())
    return f"**{heading}**\n\n" + table(["embedding", "accuracy", *others.values()], rows)


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
