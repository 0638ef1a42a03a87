"""What the page says of a claim."""

from __future__ import annotations

from typing import Any

import pytest

from stages import report

HOLDS: dict[str, Any] = {
    "statement": "knows the way",
    "claimed": "yes",
    "metric": "a.b",
    "threshold": 0.5,
    "direction": "above",
    "mean": 0.75,
    "std": 0.01,
    "met": True,
    "barred": False,
    "verdict": "holds",
    "narrow": False,
    "figure": "reports/figures/mog/x/landscape.png",
    "reason": "1 is the best",
}


def test_a_claim_is_told_in_words_with_its_link_and_its_picture() -> None:
    found = report.claim("x", HOLDS)
    assert found["sentence"] == (
        "Criterion for “x knows the way”: the metric is above 0.5. Measured: 0.75 ± 0.01, the criterion is met. "
        "The literature says “yes”; the measurement agrees. About the metric: 1 is the best."
    )
    assert found["link"] == "figures/mog/x/landscape.png" and found["shown"] == "0.75 ± 0.01"
    assert float(found["bar"]["bound"]) < float(found["bar"]["low"]) < float(found["bar"]["mean"]) < float(found["bar"]["high"])


def test_a_collapse_that_counts_against_a_method_is_told() -> None:
    barred = report.claim("x", {**HOLDS, "claimed": "no", "barred": True, "narrow": True})
    assert "is met (the embedding has collapsed, which counts as not met). The literature says “no”; " in barred["sentence"]
    assert "the measurement agrees narrowly." in barred["sentence"]


def test_what_nothing_decides_has_no_picture() -> None:
    found = report.claim("x", {**HOLDS, "mean": None, "std": None, "met": None, "verdict": "not applicable"})
    assert found["bar"] is None and found["shown"] == "–" and found["sentence"].startswith("This method has no metric")


@pytest.mark.parametrize("mean, std, bound", [(0.5, 0.0, 0.5), (-3.0, 1.0, 2.0), (1e-9, 0.0, 1e9)])
def test_the_picture_of_a_figure_stays_in_its_frame(mean: float, std: float, bound: float) -> None:
    assert all(8 <= float(place) <= report.BAR_WIDTH - 8 for place in report.bar(mean, std, bound).values())


@pytest.mark.parametrize("accuracy, ink", [(0.0, "#fff"), (0.3, "#fff"), (1.0, "#000")])
def test_what_is_written_on_a_cell_stands_out(accuracy: float, ink: str) -> None:
    cell = report.heat(accuracy)
    assert cell["ink"] == ink and cell["colour"].startswith("#")


def test_a_methods_title_is_its_own_first_line() -> None:
    assert report.title("dsm") == "Denoising score matching"


def test_verdicts_are_counted() -> None:
    claims = [report.claim("x", {**HOLDS, "verdict": verdict}) for verdict in ("holds", "holds", "fails", "not applicable")]
    assert report.counts(claims) == "2 hold, 1 fail, 1 are not applicable."
