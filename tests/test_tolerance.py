"""The metrics of two runs agree if they differ within statistical tolerance, and only then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.core.paths import ROOT
from stages.mnist.encoder.probes import small_digits
from stages.results.tolerance import DIGITS, EXACT, OTHERS, SINGLE, allowed, below_floor, deviations, flattened

SIZES = {
    "test": 10_000,
    "knn_validation": 5000,
    "transfer": DIGITS,
    "robustness": 1000,
    "memorised": 200,
    "precision": 200,
    "recall": 200,
}


def metrics(mean: float, std: float = 0.1, seeds: int = 8, collapsed: bool = False) -> dict[str, Any]:
    """Metrics of a method: a loss over seeds, and the verdict on collapse."""
    return {"loss": {"mean": mean, "std": std, "values": [mean] * seeds}, "collapse": {"collapsed": collapsed}}


def single(name: str, mean: float, count: int = 1) -> dict[str, Any]:
    """Metrics with a single entry: `name` is its dotted name, and `count` seeds have the same value."""
    found: dict[str, Any] = {"mean": mean, "std": 0.0, "values": [mean] * count}
    for part in reversed(name.split(".")):
        found = {part: found}
    return found


def accepted(old: dict[str, Any], new: dict[str, Any]) -> list[bool]:
    """Whether each metric that differs is within tolerance."""
    return [ok for _, _, ok in deviations("m", old, new, SIZES)]


def accepted_change(name: str, was: float, now: float, count: int = 1) -> list[bool]:
    """Whether the change of a single metric is within tolerance; empty if it does not differ."""
    return accepted(single(name, was, count), single(name, now, count))


def test_equal_metrics_do_not_deviate() -> None:
    assert accepted(metrics(1.0), metrics(1.0)) == []


def test_a_change_within_the_spread_over_seeds_is_accepted() -> None:
    assert accepted(metrics(1.0), metrics(1.1)) == [True]


def test_a_change_beyond_the_spread_over_seeds_is_rejected() -> None:
    assert accepted(metrics(1.0), metrics(1.3)) == [False]


def test_more_seeds_reduce_the_tolerance() -> None:
    assert accepted(metrics(1.0, seeds=800), metrics(1.1, seeds=800)) == [False]


def test_a_changed_collapse_verdict_is_rejected() -> None:
    assert accepted(metrics(1.0), metrics(1.0, collapsed=True)) == [False]


def test_missing_and_new_metrics_are_reported() -> None:
    assert accepted(metrics(1.0), {}) == [False, False]
    assert accepted({}, metrics(1.0)) == [False, False]


def test_a_fraction_of_a_single_training_may_change_by_its_sampling_error() -> None:
    assert accepted_change("knn.accuracy", 0.99, 0.985) == [True]
    assert accepted_change("knn.accuracy", 0.99, 0.98) == [False]


def test_a_metric_without_training_may_change_only_by_rounding() -> None:
    assert accepted_change("knn_raw_pixels.accuracy", 0.9688, 0.9689) == [True]
    assert accepted_change("knn_raw_pixels.accuracy", 0.9688, 0.9650) == [False]


def test_a_fraction_without_training_may_change_by_three_ties() -> None:
    assert accepted_change("untrained.transfer.from_training", 900 / DIGITS, 903 / DIGITS) == [True]
    assert accepted_change("untrained.transfer.from_training", 900 / DIGITS, 904 / DIGITS) == [False]


def test_the_number_of_digits_is_that_of_scikit_learn() -> None:
    assert len(small_digits()[1]) == DIGITS


def test_a_metric_without_seeds_is_compared_too() -> None:
    assert accepted({"conditional": {"r2_ceiling": 0.909}}, {"conditional": {"r2_ceiling": 0.909}}) == []
    assert accepted({"conditional": {"r2_ceiling": 0.909}}, {"conditional": {"r2_ceiling": 0.8}}) == [False]


def test_the_knn_metrics_on_mnist_must_not_fall_below_the_target() -> None:
    def knn(p: float) -> dict[str, Any]:
        return {"knn": {k: {"mean": p} for k in ("accuracy", "precision_macro", "recall_macro", "f1_macro")}}

    path = Path("reports/metrics/mnist/jepa_ema.json")
    assert list(below_floor(path, knn(0.9930), knn(0.9901))) == []
    assert [ok for _, _, ok in below_floor(path, knn(0.9901), knn(0.9900))] == [False] * 4
    assert list(below_floor(path, knn(0.9850), knn(0.9849))) == []
    assert list(below_floor(Path("reports/metrics/mog/dsm.json"), {}, {})) == []


def test_a_reconstruction_error_may_change_by_five_percent() -> None:
    assert accepted_change("reconstruction.mse", 0.030, 0.031) == [True]
    assert accepted_change("reconstruction.mse", 0.030, 0.032) == [False]


def test_the_reconstruction_error_of_one_perturbation_has_a_larger_tolerance() -> None:
    assert accepted_change("reconstruction.per_perturbation.dilation.1.mse", 0.050, 0.060) == [True]
    assert accepted_change("reconstruction.per_perturbation.dilation.1.mse", 0.050, 0.070) == [False]


def test_the_tolerance_of_psnr_follows_from_that_of_the_squared_error() -> None:
    assert accepted_change("reconstruction.psnr", 14.0, 14.2) == [True]
    assert accepted_change("reconstruction.psnr", 14.0, 14.3) == [False]


def test_a_fraction_of_zero_may_become_small() -> None:
    assert accepted_change("sampling.langevin.escaped", 0.0, 1 / 8000, count=8) == [True]
    assert accepted_change("sampling.langevin.escaped", 0.0, 0.01, count=8) == [False]


def test_metrics_with_shared_noise_have_a_larger_tolerance_on_another_device() -> None:
    old, new = ({"heldout_loss": {"mean": mean, "std": 1e-4, "values": [mean] * 8}} for mean in (1.0, 1.02))
    assert accepted(old, new) == [False]
    assert [ok for _, _, ok in deviations("m", old, new, SIZES, other_device=True)] == [True]


def test_metrics_of_the_image_baseline_count_as_untrained() -> None:
    old, new = (single("uses.transfer.from_training", p) for p in (0.70, 0.71))
    assert [ok for _, _, ok in deviations("mnist_baseline", old, new, SIZES)] == [False]
    assert accepted(old, new) == [True]


def test_reconstruction_tolerances_are_about_four_standard_deviations_over_seeds() -> None:
    cells = json.loads((ROOT / "reports/studies/mnist_reconstruct.json").read_text())["cells"]
    spreads: dict[str, list[float]] = {"per_perturbation": [], "clean": [], "others": []}
    for cell in cells:
        for name, metric in cell.items():
            if isinstance(metric, dict) and "std" in metric and not name.endswith("psnr"):
                group = next((part for part in spreads if name.startswith(part)), "others")
                spreads[group].append(metric["std"] / metric["mean"])
                assert len(metric["values"]) == 3
    for group, tolerance in {**SINGLE, "others": OTHERS}.items():
        if group in spreads:
            assert 3.5 < tolerance / max(spreads[group]) < 5, group


def test_metrics_of_samples_of_images_have_absolute_tolerances_and_rounding_errors_none() -> None:
    def ok(name: str, was: float, now: float) -> bool:
        (found,) = deviations("diffusion", single(name, was), single(name, now), SIZES)
        return found[2]

    assert ok("mixture.samples.exact.log_density_gap", -3, 1) and not ok("mixture.samples.log_density_gap", 144, 120)
    assert ok("mixture.score.outside.affine_per_sigma.1", 6e-32, 9e-32) and not ok("mixture.score.within.per_sigma.1", 0.3, 0.4)
    assert ok("images.memorised", 0, 0.02) and not ok("images.memorised", 0, 0.1)
    assert ok("images.precision", 0.415, 0.335) and not ok("images.precision", 0.415, 0.1)


def test_every_committed_metric_has_a_tolerance() -> None:
    files = list((ROOT / "reports/metrics").rglob("*.json"))
    for path in files:
        if path.name != "summary.json":
            metrics = json.loads(path.read_text())
            assert list(deviations(path.stem, metrics, metrics, SIZES)) == []
            for name, metric in flattened(metrics):
                varies = isinstance(metric, dict) and not name.endswith(("collapsed_seeds", *EXACT))
                assert not varies or allowed(f"{path.stem}:{name}", metric, SIZES) > 0, name
    assert len(files) > 10
