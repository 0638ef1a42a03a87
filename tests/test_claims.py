"""A claim is decided by its figure alone, in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from stages import params
from stages.claims import decide, markdown
from stages.params import Criterion
from tests.imports import ROOT

PARAMS = params.load(ROOT / "params.yaml")


def criterion(**changes: Any) -> Criterion:
    return Criterion(**{"metric": "score.error", "below": 0.05, "figure": "a.png", "reason": "r", **changes})


def metrics(*values: float) -> dict[str, Any]:
    return {"score": {"error": {"mean": sum(values) / len(values), "std": 0.0, "values": list(values)}, "floor": 1.0}}


@pytest.mark.parametrize(
    ("said", "value", "verdict"),
    [(True, 0.01, "holds"), (True, 0.9, "fails"), (False, 0.9, "holds"), (False, 0.01, "fails")],
)
def test_a_claim_holds_where_the_figure_is_on_the_side_it_says(said: bool, value: float, verdict: str) -> None:
    assert decide(said, [criterion()], metrics(value))["verdict"] == verdict
    above = criterion(below=None, above=0.05)
    assert decide(not said, [above], metrics(value))["verdict"] == verdict


def test_the_mean_over_seeds_decides_and_is_reported_with_its_deviation() -> None:
    entry = decide(True, [criterion()], metrics(0.0, 0.08))
    assert (entry["verdict"], entry["mean"], entry["std"]) == ("holds", 0.04, 0.04)
    assert (entry["claimed"], entry["threshold"], entry["direction"]) == ("yes", 0.05, "below")


def test_a_control_is_subtracted() -> None:
    entry = decide(True, [criterion(against="score.floor")], metrics(1.02))
    assert entry["mean"] == pytest.approx(0.02)
    assert entry["metric"] == "score.error − score.floor"


def test_the_first_criterion_whose_figure_is_there_counts() -> None:
    other = criterion(metric="score.absent")
    assert decide(True, [other, criterion()], metrics(0.01))["metric"] == "score.error"


def test_without_a_figure_a_claim_is_not_applicable() -> None:
    entry = decide(True, [criterion(metric="critic.r2_pmi")], metrics(0.01))
    assert (entry["verdict"], entry["mean"]) == ("not applicable", None)


def test_a_claim_that_fails_stands_out_in_the_table() -> None:
    decided = {"dsm": {"learns_score": decide(True, [criterion()], metrics(0.9))}}
    assert "| dsm | learns score | yes | 0.9 ± 0 | score.error below 0.05 | [**fails**](a.png) |" in markdown(decided)


@pytest.mark.parametrize("name", PARAMS.claims.criteria)
def test_every_criterion_of_the_params_can_come_out_either_way(name: str) -> None:
    (first, *_) = PARAMS.claims.criteria[name]
    bound = first.below if first.below is not None else first.above
    assert bound is not None
    verdicts = set()
    for value in (bound - 1, bound + 1):
        found: dict[str, Any] = {}
        for key, number in ((first.metric, value), (first.against, 0.0)):
            place = found
            *groups, last = (key or "nothing").split(".")
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = {"mean": number, "std": 0.0, "values": [number]}
        verdicts.add(decide(True, [first], found)["verdict"])
    assert verdicts == {"holds", "fails"}


def test_every_claim_that_the_params_state_is_about_a_method_of_theirs() -> None:
    assert set(PARAMS.claims.stated) == set(PARAMS.methods)
