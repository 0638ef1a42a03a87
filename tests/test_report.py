"""Stage report: the rows of the table of claims, the colours of the robustness table, and the titles of the methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages import report
from stages.pipeline import files

ENTRY: dict[str, Any] = {
    "statement": "learns the score",
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
"""The entry of a claim in reports/claims.json."""


def test_the_row_of_a_claim_has_a_sentence_a_link_and_a_bar() -> None:
    row = report.claim("x", "c", ENTRY)
    assert row["sentence"] == (
        "Literature: yes. Measured: yes, since 0.75 ± 0.01 is above 0.5. The two agree. About the metric: 1 is the best."
    )
    assert row["link"] == "figures/mog/x/landscape.png" and row["shown"] == "0.75 ± 0.01"
    bound, low, mean, high = (float(row["bar"][key]) for key in ("bound", "low", "mean", "high"))
    assert bound < low < mean < high


def test_the_sentence_of_a_claim_states_collapse_and_a_narrow_verdict() -> None:
    sentence = report.claim("x", "c", {**ENTRY, "claimed": "no", "barred": True, "narrow": True})["sentence"]
    assert "Literature: no. Measured: no, since 0.75 ± 0.01 is above 0.5, but the embedding has collapsed" in sentence
    assert "The two agree narrowly." in sentence


def test_a_claim_without_a_metric_has_no_bar() -> None:
    row = report.claim("x", "c", {**ENTRY, "mean": None, "std": None, "met": None, "verdict": "not applicable"})
    assert row["bar"] is None and row["shown"] == "–" and row["sentence"].startswith("This method has no metric")


@pytest.mark.parametrize("mean, std, threshold", [(0.5, 0.0, 0.5), (-3.0, 1.0, 2.0), (1e-9, 0.0, 1e9)])
def test_positions_on_the_bar_stay_within_its_margins(mean: float, std: float, threshold: float) -> None:
    assert all(8 <= float(position) <= report.BAR_WIDTH - 8 for position in report.bar(mean, std, threshold).values())


@pytest.mark.parametrize("accuracy, ink", [(0.0, "#fff"), (0.3, "#fff"), (1.0, "#000")])
def test_the_text_of_a_cell_contrasts_with_its_colour(accuracy: float, ink: str) -> None:
    cell = report.heat(accuracy)
    assert cell["ink"] == ink and cell["colour"].startswith("#")


def test_claims_are_counted_by_verdict() -> None:
    claims = [
        report.claim("x", "c", {**ENTRY, "verdict": verdict}) for verdict in ("holds", "holds", "fails", "not applicable")
    ]
    assert report.counts(claims) == "2 hold, 1 fail, 1 are not applicable."


def test_the_spectra_of_the_page_are_those_of_methods_that_have_one() -> None:
    value = {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}
    found = {"view_noise": 1.0, "eigenvalue_1": 0.9, "eigenvalue_2": 0.8}
    found |= {f"r2_{k}{suffix}": value for k in (1, 2) for suffix in ("", "_untrained")}
    measured = {"encoder": {"spectrum": found}, "score": {}, "noiseless": {"spectrum": {"view_noise": 1e-9}}}
    shown = {"mean": 0.5, "std": 0.1}
    expected = {"view_noise": 1.0, "eigenvalues": [0.9, 0.8], "after": [shown, shown], "before": [shown, shown]}
    assert report.spectra(measured) == {"encoder": expected}


def test_elements_of_a_list_take_one_line_each(tmp_path: Path) -> None:
    content = {
        "machines": {"a": 1},
        "runs": [{"params": {"seed": 0}, "metrics": [1, 2]}, {"params": {}, "metrics": []}],
        "last": [],
    }
    files.write_json_rows(tmp_path / "runs.json", content, "runs")
    lines = (tmp_path / "runs.json").read_text().splitlines()
    assert files.read_json(tmp_path / "runs.json") == content
    assert '{"params": {"seed": 0}, "metrics": [1, 2]},' in lines and '{"params": {}, "metrics": []}' in lines
