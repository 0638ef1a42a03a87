"""Stage mnist_compare: tests of all pairs, the marks and verdicts in its tables, and its warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.metrics.paired import holm, mcnemar, paired_t
from stages.mnist.compare import KNN, RAW, UNTRAINED, Result, accuracies, all_pairs, paired_tests, verdicts, warnings

IMAGES = 1000


def of(wrong: int, precision: float = 0.5) -> dict[str, Result]:
    """The results of an embedding by which k-NN misclassifies the first `wrong` images."""
    right = np.arange(IMAGES) >= wrong
    values = precision + np.linspace(-0.1, 0.1, 20) ** 3

    def metric(mean: float) -> dict[str, Any]:
        return {"mean": mean, "std": 0.0, "values": [mean]}

    return {KNN: Result(metric(right.mean()), right), "retrieval": Result(metric(precision), values)}


def compared(**wrong: int) -> tuple[dict[str, dict[str, Result]], list[dict[str, Any]], list[str]]:
    """All embeddings, by misclassified images; the tests; the methods. `untrained` and `raw` are the baselines."""
    raw, untrained = of(wrong.pop("raw")), of(wrong.pop("untrained"))
    trained = {name: of(count, 0.5 - count / IMAGES) for name, count in wrong.items()}
    tests = paired_tests(all_pairs(trained, dict.fromkeys(trained, untrained), raw))
    return {**trained, UNTRAINED: untrained, RAW: raw}, tests, list(trained)


def test_each_pair_is_tested_on_each_task_with_holms_correction_within_the_task() -> None:
    shown, tests, _ = compared(a=10, b=40, untrained=100, raw=35)
    assert len({(t["task"], frozenset((t["first"], t["second"]))) for t in tests}) == len(tests) == 2 * 6
    for task, test in ((KNN, mcnemar), ("retrieval", paired_t)):
        of_task = [t for t in tests if t["task"] == task]
        expected = [test(shown[t["first"]][task].each, shown[t["second"]][task].each) for t in of_task]
        assert [{key: t[key] for key in one} for t, one in zip(of_task, expected, strict=True)] == expected
        assert [t["adjusted_p"] for t in of_task] == pytest.approx(holm([one["p"] for one in expected]), rel=5e-3)
    assert {t["test"] for t in tests} == {"McNemar", "paired t"}
    # 40 misclassified images are not significantly more than 35 with McNemar's p = 2 / 2⁵.
    found = {(t["first"], t["second"]): t["verdict"] for t in tests if t["task"] == KNN}
    assert found["b", RAW] == "no difference" and found["a", "b"] == "better" and found[UNTRAINED, RAW] == "worse"


def test_a_method_is_paired_with_the_untrained_encoder_of_its_own_normalisation() -> None:
    pairs = all_pairs({"a": of(1), "b": of(2)}, {"a": of(100), "b": of(200)}, of(50))
    wrong = {pair: [int((~one[KNN].each).sum()) for one in both] for pair, both in pairs.items()}
    assert wrong["a", UNTRAINED] == [1, 100] and wrong["b", UNTRAINED] == [2, 200] and wrong[UNTRAINED, RAW] == [100, 50]


def test_table_marks_the_best_what_is_not_worse_and_what_is_worse_than_raw_pixels() -> None:
    shown, tests, _ = compared(a=10, b=12, c=90, untrained=100, raw=50)
    rows = accuracies("t", tests, shown).splitlines()
    assert rows[0] == "**t**"
    knn = {row.split(" | ")[0].removeprefix("| "): row.split(" | ")[1] for row in rows[4:]}
    assert knn == {"a": "**0.99**", "b": "**0.988**", "c": "0.91 ↓", UNTRAINED: "0.9 ↓", RAW: "0.95"}


@pytest.mark.parametrize("raw", [50, 1])
def test_verdicts_are_against_the_best_and_the_baselines(raw: int) -> None:
    shown, tests, _ = compared(a=10, b=12, untrained=100, raw=raw)
    header, _, *rows = verdicts("t", tests, shown).splitlines()[2:]
    if raw == 50:
        assert header == "| embedding | accuracy | against a, the best | against the untrained encoder | against raw pixels |"
        assert rows[1] == "| b | 0.988 | -0.0020, no difference | +0.0880, better | +0.0380, better |"
        assert rows[-1] == "| raw pixels | 0.95 | -0.0400, worse | +0.0500, better | – |"
    else:
        assert header == "| embedding | accuracy | against raw pixels, the best | against the untrained encoder |"
        assert rows[1] == "| b | 0.988 | -0.0110, worse | +0.0880, better |"


def test_only_methods_that_do_not_beat_both_baselines_are_warned_of() -> None:
    shown, tests, methods = compared(good=10, equal=48, bad=110, untrained=100, raw=50)
    equal, bad = warnings(tests, methods, shown)
    advice = ": augmentations that do not suit the data, a short training or few test images may be the cause"
    advice = f"{advice} (docs/how-to/data-set.md)"
    assert equal == "the k-NN accuracy of equal (0.9520) is not significantly above that of raw pixels (0.9500)" + advice
    assert bad == (
        "the k-NN accuracy of bad (0.8900) is lower than that of the untrained encoder (0.9000) and lower than that of raw "
        "pixels (0.9500)" + advice
    )
