"""Verdicts on claims: how a metric decides them, and how the criteria judge exact, broken and untrained methods."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.claims import main, markdown
from stages.config import params
from stages.config.claims import Claim, Criterion, load
from stages.config.mixture import Box, MixtureParams
from stages.core.errors import InvalidParams
from stages.core.paths import ROOT
from stages.metrics.summary import over_seeds
from stages.mog.evaluation.langevin import annealed_langevin
from stages.mog.evaluation.sampling import Comparison, region
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.build import configured
from stages.pipeline import files
from stages.results.claim_cells import COLUMNS
from stages.results.verdicts import decide, formula, measure
from tests import methods
from tests.plane import DESCRIBED, PRESETS

PARAMS = params.load(ROOT / "params.yaml")
CLAIMS = load(ROOT / "claims.yaml")
ALL = [(name, place) for name, claim in CLAIMS.criteria.items() for place in range(len(claim.decided_by))]


def claim(*criteria: dict[str, Any]) -> Claim:
    """A claim with criteria that change these settings of `score.error below 0.05`; by default one unchanged criterion."""
    settings = {"metric": "score.error", "below": 0.05, "figure": "{method}/a.png", "reason": "r"}
    return Claim(statement="learns it", decided_by=[Criterion(**{**settings, **changes}) for changes in criteria or ({},)])


def metrics(*values: float) -> dict[str, Any]:
    """Metrics of a method: an error over seeds, and a floor of 1."""
    return {"score": {"error": {"mean": sum(values) / len(values), "std": 0.0, "values": list(values)}, "floor": 1.0}}


def cell(decay: float, *values: float, method: str = "dsm") -> dict[str, Any]:
    """A cell of a study, with metrics under their dotted keys."""
    settings = {f"{method}.decay": decay, "seeds": len(values)}
    return {"method": method, "settings": settings, "score.error": metrics(*values)["score"]["error"]}


@pytest.mark.parametrize(
    ("expected", "value", "verdict"),
    [(True, 0.01, "holds"), (True, 0.9, "fails"), (False, 0.9, "holds"), (False, 0.01, "fails")],
)
def test_a_claim_holds_if_the_metric_is_on_the_expected_side(expected: bool, value: float, verdict: str) -> None:
    assert decide(expected, claim(), "dsm", metrics(value))["verdict"] == verdict
    assert decide(not expected, claim({"below": None, "above": 0.05}), "dsm", metrics(value))["verdict"] == verdict


def test_the_mean_over_seeds_decides_and_is_reported_with_its_deviation() -> None:
    entry = decide(True, claim(), "dsm", metrics(0.0, 0.08), label="partly")
    assert (entry["verdict"], entry["mean"], entry["std"]) == ("holds", 0.04, 0.04)
    assert (entry["claimed"], entry["threshold"], entry["direction"]) == ("partly", 0.05, "below")
    assert (entry["statement"], entry["figure"]) == ("learns it", "reports/figures/mog/dsm/a.png")


@pytest.mark.parametrize(("values", "narrow"), [((0.03, 0.05), True), ((0.03, 0.032), False), ((0.049,), False)])
def test_a_verdict_within_two_standard_errors_of_the_threshold_is_narrow(values: tuple[float, ...], narrow: bool) -> None:
    measured = {"score": {"error": over_seeds(values)}, "collapse": {"collapsed": True}}
    assert decide(True, claim(), "dsm", measured)["narrow"] == narrow
    assert not decide(True, claim({"unless": "collapse.collapsed"}), "dsm", measured)["narrow"]
    text = markdown({"dsm": {"learns": decide(True, claim(), "dsm", measured)}})
    assert ("[yes](figures/mog/dsm/a.png), narrowly" in text) == narrow


def test_the_control_metric_is_subtracted() -> None:
    entry = decide(True, claim({"against": "score.floor"}), "dsm", metrics(1.02))
    assert entry["mean"] == pytest.approx(0.02)
    assert entry["metric"] == "score.error − score.floor"


def test_the_first_criterion_whose_metric_exists_decides() -> None:
    assert decide(True, claim({"metric": "score.absent"}, {}), "dsm", metrics(0.01))["metric"] == "score.error"


@pytest.mark.parametrize(
    "missing", [{"metric": "critic.r2_pmi"}, {"against": "score.absent"}, {"study": "s", "cell": {"a": 1}}]
)
def test_a_claim_without_its_metric_is_not_applicable(missing: dict[str, Any]) -> None:
    entry = decide(True, claim(missing), "dsm", metrics(0.01))
    assert (entry["verdict"], entry["mean"]) == ("not applicable", None)


STUDIES = {"s": [cell(0.0, 0.5, 0.9), cell(0.9, 0.1, 0.3), cell(0.9, 7.0, method="ism")]}
IN_STUDY = {"study": "s", "cell": {"{method}.decay": 0.9}, "figure": "s.png"}


def test_a_cell_of_a_study_can_decide_a_claim_for_each_method() -> None:
    entry = decide(True, claim(IN_STUDY), "dsm", {}, STUDIES)
    assert (entry["mean"], entry["verdict"], entry["figure"]) == (0.2, "fails", "reports/figures/studies/s.png")
    assert entry["metric"] == "score.error at decay 0.9 (study s)"
    assert decide(True, claim(IN_STUDY), "ism", {}, STUDIES)["mean"] == 7


def test_the_difference_of_two_cells_can_decide_a_claim() -> None:
    entry = decide(True, claim({**IN_STUDY, "against_cell": {"{method}.decay": 0.0}}), "dsm", {}, STUDIES)
    assert (entry["mean"], entry["verdict"]) == (pytest.approx(-0.5), "holds")
    assert entry["metric"] == "score.error at decay 0.9 − at decay 0.0 (study s)"


def test_the_standard_deviation_over_seeds_can_decide_a_claim() -> None:
    spread = {**IN_STUDY, "against_cell": {"{method}.decay": 0.0}, "statistic": "std", "below": -0.05}
    assert decide(True, claim(spread), "dsm", {}, STUDIES)["mean"] == pytest.approx(-0.1)
    assert decide(True, claim({**spread, "below": -0.15}), "dsm", {}, STUDIES)["verdict"] == "fails"


def test_the_standard_error_of_a_std_difference_matches_a_simulation() -> None:
    values = np.random.default_rng(0).normal(size=(2000, 24))
    cells = [cell(0.5, *values[0]), cell(0.9, *(1.3 * values[1]))]
    spread = {**IN_STUDY, "against_cell": {"{method}.decay": 0.5}, "statistic": "std", "below": 0.0}
    found = measure(claim(spread).decided_by[0], "dsm", {}, {"s": cells})
    assert found is not None
    expected = np.hypot(values.std(1)[::2].std(), 1.3 * values.std(1)[1::2].std())
    assert found["error"] == pytest.approx(expected, rel=0.35)
    entry = decide(True, claim(spread), "dsm", {}, {"s": cells})
    assert entry["narrow"] == (abs(entry["mean"]) < 2 * found["error"])


def test_a_difference_can_be_divided_by_the_subtracted_value() -> None:
    change = {**IN_STUDY, "against_cell": {"{method}.decay": 0.0}, "relative": True, "below": -0.7}
    entry = decide(True, claim(change), "dsm", {}, STUDIES)
    assert (entry["mean"], entry["verdict"]) == (pytest.approx(-0.5 / 0.7, rel=1e-5), "holds")
    assert entry["metric"].startswith("relative change of score.error at decay 0.9")


@pytest.mark.parametrize(("floor", "verdict"), [(0.5, "holds"), (1.0, "not applicable"), (2.0, "not applicable")])
def test_a_criterion_applies_only_if_the_metrics_it_needs_are_large_enough(floor: float, verdict: str) -> None:
    assert decide(True, claim({"needs": {"score.floor": floor}}), "dsm", metrics(0.01))["verdict"] == verdict
    assert decide(True, claim({"needs": {"absent": -1.0}}), "dsm", metrics(0.01))["verdict"] == "not applicable"


def test_the_stage_claims_depends_on_the_deciding_studies() -> None:
    named = {criterion.study for c in CLAIMS.criteria.values() for criterion in c.decided_by if criterion.study}
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["claims"]
    assert {dep for dep in stage["deps"] if "studies" in dep} == {f"reports/studies/{name}.json" for name in named}


def test_a_failed_claim_is_bold_in_both_tables() -> None:
    decided = {
        "dsm": {
            "samples": decide(True, claim(), "dsm", metrics(0.9), paper=CLAIMS.papers["vincent2011"]),
            "wells": decide(False, claim(), "dsm", metrics(0.9, 0.8)),
        },
        "ism": {"samples": decide(False, claim(), "ism", {})},
        "own": {},
    }
    overview, every = markdown(decided).split("\n\n")
    link = "figures/mog/dsm/a.png"
    assert overview.splitlines()[2:] == [
        f"| dsm | – | – | yes [**✗**]({link}) | – | – |",
        "| ism | – | – | no (not applicable) | – | – |",
    ]
    paper = "[Vincent 2011](https://doi.org/10.1162/NECO_a_00142)"
    assert every.splitlines()[2:] == [
        f"| dsm | learns it | yes ({paper}) | 0.9 | score.error below 0.05 | [**no**]({link}) | r |",
        f"| dsm | learns it | no (expected; no paper) | 0.85 ± 0.05 | score.error below 0.05 | [yes]({link}) | r |",
    ]


def study_of(criterion: Criterion, metrics: dict[str, Any], against: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """A study with these metrics in the criterion's cell and in the cell that it is compared with."""
    settings = [{k.format(method="m"): v for k, v in cell.items()} for cell in (criterion.cell, criterion.against_cell)]
    parts = zip(settings, (metrics, against), strict=True)
    return {str(criterion.study): [{"method": "m", "settings": setting, **found} for setting, found in parts]}


@pytest.mark.parametrize(("name", "place"), ALL)
def test_an_exact_method_meets_every_criterion_and_a_broken_one_meets_none(name: str, place: int) -> None:
    criterion = CLAIMS.criteria[name].decided_by[place]
    alone = Claim(statement="s", decided_by=[criterion])
    truth, broken = methods.exact(), methods.broken()
    if criterion.study:
        truth, broken = methods.spread(), methods.fallen()
        found = [decide(True, alone, "m", {}, study_of(criterion, *pair)) for pair in ((truth, broken), (broken, broken))]
    else:
        found = [decide(True, alone, "m", metrics) for metrics in (truth, broken)]
    assert [entry["verdict"] for entry in found] == ["holds", "fails"], [entry["mean"] for entry in found]


@pytest.fixture(scope="module")
def small_domain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the points and the protocol for the evaluation of untrained networks."""
    folder = tmp_path_factory.mktemp("small")
    methods.small_world(folder)
    return folder


MET_BY_UNTRAINED = {
    # An untrained encoder is a smooth map of the plane with random weights: it preserves most distances, and its embeddings
    # are not collapsed. These criteria ask whether the training has preserved that, which is
    # not so for methods that collapse or that tear the plane.
    ("global_distances", "structure.delta_distance_spearman (not collapsed)"),
    ("no_collapse", "collapse.collapsed_seeds"),
}
"""Criteria that networks meet before training."""
BY_DEFINITION = {
    ("in_batch_negatives", name) for name in ("contrastive", "vicreg", "sigreg", "spectral_contrastive", "barlow_twins")
}
"""Claims about a loss that hold whatever the network: negatives or statistics of the batch are part of it."""


def verdict_before_training(criterion: Criterion, method: str, folder: Path) -> dict[str, Any]:
    """The verdict on a criterion about a method's untrained networks or, for a study, the untrained networks of its cells."""
    alone = Claim(statement="s", decided_by=[criterion])
    if not criterion.study:
        return decide(True, alone, method, methods.untrained(folder, method))
    settings = [{k.format(method=method): v for k, v in c.items()} for c in (criterion.cell, criterion.against_cell)]
    cells: list[Mapping[str, Any]] = [
        {"method": method, "settings": cell, **methods.untrained(folder, method, *cell.items())} for cell in settings
    ]
    return decide(True, alone, method, {}, {criterion.study: cells})


@pytest.mark.parametrize(("name", "place"), ALL)
def test_untrained_networks_meet_only_the_criteria_of_a_smooth_random_map(name: str, place: int, small_domain: Path) -> None:
    criterion = CLAIMS.criteria[name].decided_by[place]
    claimed = [method for method, expected in CLAIMS.expected.items() if name in expected]
    found = {method: verdict_before_training(criterion, method, small_domain) for method in claimed}
    met = {method: entry["met"] and not entry["barred"] for method, entry in found.items() if entry["mean"] is not None}
    assert met, "no method with this claim has the metric"
    of_all = (name, formula(criterion)) in MET_BY_UNTRAINED
    expected = {method: of_all or (name, method) in BY_DEFINITION for method in met}
    assert met == expected, {method: found[method]["mean"] for method in met}


def test_the_criteria_that_untrained_networks_meet_exist() -> None:
    assert {(name, formula(CLAIMS.criteria[name].decided_by[place])) for name, place in ALL} >= MET_BY_UNTRAINED


TURNING = [(name, study) for name, claim in CLAIMS.criteria.items() for study in claim.turns_in]


@pytest.mark.parametrize(("name", "study"), TURNING)
def test_the_verdict_turns_in_the_study_that_a_claim_names(name: str, study: str) -> None:
    alone = Claim(statement="s", decided_by=[CLAIMS.criteria[name].decided_by[0]])
    found: dict[str, set[bool]] = {}
    for cell in files.read_json(ROOT / f"reports/studies/{study}.json")["cells"]:
        entry = decide(True, alone, cell["method"], cell)
        if not entry["narrow"]:
            found.setdefault(cell["method"], set()).add(entry["met"] and not entry["barred"])
    assert {True, False} in found.values(), found


OTHER_MIXTURES = {
    **{name: mixture for name, mixture in PRESETS.items() if name != "reference"},
    "four": MixtureParams(
        means=[[0, 0], [6, 0], [0, 6], [6, 6]],
        covariances=[[[1, 0], [0, 1]]] * 4,
        weights=[0.4, 0.3, 0.2, 0.1],
        box=Box(x=[-8, 14], y=[-8, 14]),
    ),
    "far": MixtureParams(
        means=[[0, 0], [500, 100]],
        covariances=[[[1000, 0], [0, 1000]]] * 2,
        weights=[0.9, 0.1],
        box=Box(x=[-300, 800], y=[-300, 400]),
    ),
    "one": MixtureParams(means=[[1, 2]], covariances=[[[2, 0.5], [0.5, 1]]], weights=[1], box=Box(x=[-5, 7], y=[-4, 8])),
}
"""Mixtures that were not used to choose the thresholds."""
SCORE_CLAIMS = ("learns_score", "samples", "mixing_weights", "wells", "points_to_clusters", "long_range", "mode_weights")
INAPPLICABLE = {"ring": ("points_to_clusters", "long_range"), "four": ("points_to_clusters", "long_range")}
INAPPLICABLE |= {
    "far": ("points_to_clusters", "long_range"),
    "one": ("points_to_clusters", "long_range", "mixing_weights", "mode_weights"),
}
"""Claims that are not applicable: the direction to the nearest mean nearly equals the score, or there is only one mode."""


def verdicts(metrics: Mapping[str, Any], *names: str) -> dict[str, str]:
    """The verdicts on these claims, all of them expected, about a method with these metrics."""
    return {name: decide(True, CLAIMS.criteria[name], "m", metrics)["verdict"] for name in names}


@pytest.mark.parametrize("mixture", OTHER_MIXTURES)
def test_the_true_score_meets_all_score_claims_and_its_negative_none(mixture: str) -> None:
    described = OTHER_MIXTURES[mixture]
    elsewhere = Mixture([described.box.x], [np.eye(2)], [1])
    for measured, verdict in (
        (methods.score(described), "holds"),
        (methods.score(described, sampled=elsewhere, sign=-1), "fails"),
    ):
        expected = {name: "not applicable" if name in INAPPLICABLE.get(mixture, ()) else verdict for name in SCORE_CLAIMS}
        assert verdicts(measured, *SCORE_CLAIMS) == expected


def changed(mixture: MixtureParams, **parts: Any) -> Mixture:
    """The mixture with other means, covariances or weights."""
    return Mixture(**{"means": mixture.means, "covariances": mixture.covariances, "weights": mixture.weights, **parts})


@pytest.mark.parametrize("mixture", OTHER_MIXTURES)
def test_samples_with_a_missing_mode_or_wrong_covariances_fail(mixture: str) -> None:
    described = OTHER_MIXTURES[mixture]
    covariances = np.array(described.covariances)
    wrong = {
        "standard deviations divided by 100": changed(described, covariances=covariances / 1e4),
        "standard deviations doubled": changed(described, covariances=4 * covariances),
    }
    if len(described.weights) > 1:
        rarest = np.argmin(described.weights)
        weights = np.delete(described.weights, rarest)
        lost = changed(
            described,
            means=np.delete(described.means, rarest, 0),
            covariances=np.delete(covariances, rarest, 0),
            weights=weights / weights.sum(),
        )
        wrong["rarest mode missing"] = lost
    for error, sampled in wrong.items():
        assert verdicts(methods.score(described, sampled=sampled), "samples") == {"samples": "fails"}, error


@pytest.mark.parametrize("mixture", ["four", "far", "unequal"])
def test_samples_with_equal_mode_weights_fail(mixture: str) -> None:
    described = OTHER_MIXTURES[mixture]
    wrong = changed(described, weights=[1 / len(described.weights)] * len(described.weights))
    assert verdicts(methods.score(described, sampled=wrong), "mode_weights", "samples") == {
        "mode_weights": "fails",
        "samples": "fails",
    }


@pytest.mark.parametrize("mixture", ["reference", "unequal"])
def test_the_score_of_a_single_normal_distribution_fails_the_direction_claims(mixture: str) -> None:
    described = {"reference": DESCRIBED, **OTHER_MIXTURES}[mixture]
    truth = setup.mixture(described)
    apart = truth.means - truth.weights @ truth.means
    covariance = np.einsum("k,kij->ij", truth.weights, truth.covariances + apart[:, :, None] * apart[:, None])
    believed = Mixture([truth.weights @ truth.means], [covariance], [1])
    names = [name for name in ("points_to_clusters", "long_range") if name not in INAPPLICABLE.get(mixture, ())]
    assert verdicts(methods.score(described, believed=believed), *names) == dict.fromkeys(names, "fails")


@pytest.mark.parametrize(("mixture", "verdict"), [("reference", "holds"), ("four", "holds"), ("far", "fails")])
def test_annealing_recovers_mode_weights_only_if_its_noise_connects_the_modes(mixture: str, verdict: str) -> None:
    described = {"reference": DESCRIBED, **OTHER_MIXTURES}[mixture]
    truth, (settings, _), walk = setup.mixture(described), configured(PARAMS, "ncsn"), PARAMS.annealed
    sigmas = np.geomspace(settings["sigma_max"], settings["sigma_min"], settings["levels"]).tolist()
    densities, rng = {sigma: truth.smoothed(sigma) for sigma in sigmas}, np.random.default_rng(0)
    where, last = region(described, max(sigmas)), densities[sigmas[-1]]
    samples, _ = annealed_langevin(
        lambda x, sigma: densities[sigma].score(x),
        setup.uniform_in_box(described, 4000, rng)[None],
        sigmas=sigmas,
        step_ratio=walk.step_ratio,
        steps=walk.steps,
        snapshots=[],
        region=where,
        rng=rng,
    )
    comparison = Comparison(last, where, samples.shape[1], np.random.default_rng(1))
    found, exact = (comparison.metrics(x) for x in (samples, last.sample(4000, rng)[0][None]))
    measured = {"sampling": {"annealed": found, "control_annealed": found, "exact": exact}}
    assert verdicts(measured, "mode_weights", "mixing_weights") == dict.fromkeys(("mode_weights", "mixing_weights"), verdict)


def test_every_criterion_decides_a_committed_claim() -> None:
    decided = json.loads((ROOT / "reports/claims.json").read_text())
    used = {entry["metric"] for claims in decided.values() for entry in claims.values() if entry["mean"] is not None}
    for name, place in ALL:
        assert formula(CLAIMS.criteria[name].decided_by[place]) in used, (name, place)


def test_reasons_of_thresholds_quote_no_result_of_one_mixture() -> None:
    """Reasons quote the threshold, params of the study's cells, 0, 1, and numbers that hold for every mixture."""
    for name, place in ALL:
        criterion = CLAIMS.criteria[name].decided_by[place]
        cell = {float(value) for settings in (criterion.cell, criterion.against_cell) for value in settings.values()}
        known = {0.0, 1.0, abs(criterion.below or criterion.above or 0)} | cell | EVERYWHERE.get((name, place), set())
        # Subscripts in the names of coordinates, x₀ and x₁, do not match \d.
        quoted = {float(number) for number in re.findall(r"\d[\d,]*(?:\.\d+)?|\.\d+", criterion.reason.replace(",", ""))}
        assert quoted <= known, (name, criterion.reason)


EVERYWHERE: dict[tuple[str, int], set[float]] = {
    ("mixing_weights", 2): {1.2},  # exp(0.2)
    ("wells", 1): {0.5},  # AUROC of a flat landscape
}
"""Numbers in reasons that hold for every mixture."""


def test_a_collapsed_method_fails_a_criterion_that_excludes_collapse() -> None:
    unless = claim({"unless": "collapse.collapsed"})
    for collapsed, verdict in ((True, "fails"), (False, "holds")):
        entry = decide(True, unless, "dsm", {**metrics(0.01), "collapse": {"collapsed": collapsed}})
        assert (entry["verdict"], entry["metric"]) == (verdict, "score.error (not collapsed)")


def test_a_study_with_another_mixture_or_other_method_params_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    criteria = {"stabler": claim({**IN_STUDY, "figure": "s.png"})}
    claims = CLAIMS.model_copy(
        update={"criteria": criteria, "expected": {"dsm": {"stabler": True}}, "expected_label": {}, "sources": {}}
    )
    Path("claims.yaml").write_text(yaml.safe_dump(claims.model_dump()), encoding="utf-8")
    files.write_json(Path("reports/metrics/mog/dsm.json"), {})
    current = {name: PARAMS.block(name) for name in ("dsm", "ism")}
    other = {**current, "dsm": {**current["dsm"], "sigma": 9.0}}
    for preset, blocks, verdict in (
        ("ring", current, "not applicable"),
        ("reference", other, "not applicable"),
        ("reference", current, "fails"),
    ):
        files.write_json(Path("reports/studies/s.json"), {"preset": preset, "blocks": blocks, "cells": STUDIES["s"]})
        main(PARAMS.model_copy(update={"methods": ["dsm"]}))
        assert json.loads(Path("reports/claims.json").read_text())["dsm"]["stabler"]["verdict"] == verdict


def test_a_claim_names_its_paper_or_that_of_the_method_if_it_is_true_of_it() -> None:
    def paper(method: str, claim: str) -> str | None:
        found = CLAIMS.paper(method, claim)
        return found and found.cite

    assert paper("contrastive", "batch_matters") == "Chen et al. 2020"
    assert paper("contrastive", "in_batch_negatives") == "van den Oord et al. 2018"
    assert paper("jepa_pairwise", "global_structure") is None and paper("dsm", "masked_prediction") is None
    assert paper("dsm", "mode_weights") == "Song and Ermon 2019"
    assert {source for method in CLAIMS.sources.values() for source in method.values() if source} == set(CLAIMS.papers)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"dsm": {"default": "nobody1900"}}, "sources.dsm.default: 'nobody1900' is not accepted: expected any of papers"),
        (
            {"dsm": {"no_such_claim": None}},
            "sources.dsm.no_such_claim: 'no_such_claim' is not accepted: expected any of default",
        ),
    ],
)
def test_an_unknown_paper_or_claim_is_rejected(sources: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump({**CLAIMS.model_dump(), "sources": sources}), encoding="utf-8")
    with pytest.raises(InvalidParams, match=re.escape(message)):
        load(file)


def test_every_method_has_one_claim_per_column_of_the_overview() -> None:
    assert set(CLAIMS.expected) == set(PARAMS.methods)
    for method, expected in CLAIMS.expected.items():
        for names in COLUMNS.values():
            assert len((set(names) - {"stabler"}) & set(expected)) == 1, (method, names)


def test_every_claim_with_criteria_is_expected_of_a_method() -> None:
    claimed = {name for expected in CLAIMS.expected.values() for name in expected}
    assert claimed == set(CLAIMS.criteria)
