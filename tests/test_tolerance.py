"""The comparison of two runs' metrics passes what chance explains and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.core.paths import ROOT
from stages.mnist.encoder.probes import small_digits
from stages.results.tolerance import DIGITS, EXACT, OTHERS, SINGLE, allowed, below_floor, deviations, flattened

SIZES = {"test": 10_000, "knn_validation": 5000, "transfer": DIGITS, "robustness": 1000}


def metrics(mean: float, std: float = 0.1, seeds: int = 8, collapsed: bool = False) -> dict[str, Any]:
    return {"loss": {"mean": mean, "std": std, "values": [mean] * seeds}, "collapse": {"collapsed": collapsed}}


def once(name: str, mean: float, count: int = 1) -> dict[str, Any]:
    """Metrics with one figure: `name` is dotted, `count` trainings gave the same."""
    found: dict[str, Any] = {"mean": mean, "std": 0.0, "values": [mean] * count}
    for part in reversed(name.split(".")):
        found = {part: found}
    return found


def fine(old: dict[str, Any], new: dict[str, Any]) -> list[bool]:
    return [ok for _, _, ok in deviations("m", old, new, SIZES)]


def moved(name: str, was: float, now: float, count: int = 1) -> list[bool]:
    return fine(once(name, was, count), once(name, now, count))


def test_equal_metrics_do_not_deviate() -> None:
    assert fine(metrics(1.0), metrics(1.0)) == []


def test_a_move_within_the_spread_over_seeds_is_accepted() -> None:
    assert fine(metrics(1.0), metrics(1.1)) == [True]


def test_a_move_beyond_it_is_not() -> None:
    assert fine(metrics(1.0), metrics(1.3)) == [False]


def test_more_seeds_allow_less() -> None:
    assert fine(metrics(1.0, seeds=800), metrics(1.1, seeds=800)) == [False]


def test_a_changed_verdict_is_never_accepted() -> None:
    assert fine(metrics(1.0), metrics(1.0, collapsed=True)) == [False]


def test_a_missing_and_a_new_figure_are_told() -> None:
    assert fine(metrics(1.0), {}) == [False, False]
    assert fine({}, metrics(1.0)) == [False, False]


def test_a_fraction_of_a_single_training_has_the_error_of_its_sample() -> None:
    assert moved("knn.accuracy", 0.99, 0.985) == [True]
    assert moved("knn.accuracy", 0.99, 0.98) == [False]


def test_what_no_training_enters_may_move_by_rounding_alone() -> None:
    assert moved("knn_raw_pixels.accuracy", 0.9688, 0.9689) == [True]
    assert moved("knn_raw_pixels.accuracy", 0.9688, 0.9650) == [False]


def test_a_fraction_that_no_training_enters_may_move_by_a_few_ties() -> None:
    assert moved("untrained.transfer.from_training", 900 / DIGITS, 903 / DIGITS) == [True]
    assert moved("untrained.transfer.from_training", 900 / DIGITS, 904 / DIGITS) == [False]


def test_the_digits_are_as_many_as_scikit_learn_has() -> None:
    assert len(small_digits()[1]) == DIGITS


def test_a_plain_number_is_compared_too() -> None:
    assert fine({"conditional": {"r2_ceiling": 0.909}}, {"conditional": {"r2_ceiling": 0.909}}) == []
    assert fine({"conditional": {"r2_ceiling": 0.909}}, {"conditional": {"r2_ceiling": 0.8}}) == [False]


def test_on_mnist_the_figure_to_beat_has_to_be_reached_where_it_was() -> None:
    def knn(p: float) -> dict[str, Any]:
        return {"knn": {k: {"mean": p} for k in ("accuracy", "precision_macro", "recall_macro", "f1_macro")}}

    path = Path("reports/metrics/mnist/jepa_ema.json")
    assert list(below_floor(path, knn(0.9930), knn(0.9901))) == []
    assert [ok for _, _, ok in below_floor(path, knn(0.9901), knn(0.9900))] == [False] * 4
    assert list(below_floor(path, knn(0.9850), knn(0.9849))) == []
    assert list(below_floor(Path("reports/metrics/mog/dsm.json"), {}, {})) == []


def test_a_reconstruction_may_move_by_a_twentieth() -> None:
    assert moved("reconstruction.mse", 0.030, 0.031) == [True]
    assert moved("reconstruction.mse", 0.030, 0.032) == [False]


def test_from_one_strong_perturbation_it_varies_more() -> None:
    assert moved("reconstruction.per_perturbation.dilation.1.mse", 0.050, 0.060) == [True]
    assert moved("reconstruction.per_perturbation.dilation.1.mse", 0.050, 0.070) == [False]


def test_decibels_move_as_far_as_the_squared_error_they_are_of() -> None:
    assert moved("reconstruction.psnr", 14.0, 14.2) == [True]
    assert moved("reconstruction.psnr", 14.0, 14.3) == [False]


def test_a_share_that_is_none_may_become_a_few() -> None:
    assert moved("sampling.langevin.escaped", 0.0, 1 / 8000, count=8) == [True]
    assert moved("sampling.langevin.escaped", 0.0, 0.01, count=8) == [False]


def test_what_all_seeds_draw_alike_may_move_further_on_another_device_alone() -> None:
    old, new = ({"heldout_loss": {"mean": mean, "std": 1e-4, "values": [mean] * 8}} for mean in (1.0, 1.02))
    assert fine(old, new) == [False]
    assert [ok for _, _, ok in deviations("m", old, new, SIZES, other_device=True)] == [True]


def test_the_baseline_of_the_images_needs_no_training() -> None:
    old, new = (once("uses.transfer.from_training", p) for p in (0.70, 0.71))
    assert [ok for _, _, ok in deviations("mnist_baseline", old, new, SIZES)] == [False]
    assert fine(old, new) == [True]


def test_the_bounds_of_reconstructions_are_about_four_times_what_the_study_over_seeds_found() -> None:
    cells = json.loads((ROOT / "reports/studies/mnist_reconstruct.json").read_text())["cells"]
    spreads: dict[str, list[float]] = {"per_perturbation": [], "clean": [], "others": []}
    for cell in cells:
        for name, figure in cell.items():
            if isinstance(figure, dict) and "std" in figure and not name.endswith("psnr"):
                group = next((part for part in spreads if name.startswith(part)), "others")
                spreads[group].append(figure["std"] / figure["mean"])
                assert len(figure["values"]) == 3
    for group, bound in {**SINGLE, "others": OTHERS}.items():
        if group in spreads:
            assert 3.5 < bound / max(spreads[group]) < 5, group


def test_every_committed_figure_has_a_bound() -> None:
    files = list((ROOT / "reports/metrics").rglob("*.json"))
    for path in files:
        if path.name != "summary.json":
            metrics = json.loads(path.read_text())
            assert list(deviations(path.stem, metrics, metrics, SIZES)) == []
            for name, figure in flattened(metrics):
                counted = isinstance(figure, dict) and not name.endswith(("collapsed_seeds", *EXACT))
                assert not counted or allowed(f"{path.stem}:{name}", figure, SIZES) > 0, name
    assert len(files) > 10
