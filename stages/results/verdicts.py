"""Verdicts on claims, each decided by a measured metric.

A criterion is met if the mean over seeds lies on the right side of the threshold and nothing bars it (`unless`: a collapsed
embedding has no structure, whatever the metric). An expected claim holds if its criterion is met; a claim that is expected not
to be met holds if it is not. If the method lacks the metric, the claim is not applicable. A verdict is narrow if the threshold
is within two standard errors of the mean: other seeds could give another verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.config.claims import Claim, Claims, Criterion, Paper
from stages.core.errors import UserError
from stages.metrics.summary import over_seeds
from stages.pipeline.lookup import look_up

Metrics = Mapping[str, Any]
Decided = dict[str, dict[str, Any]]
"""The entry of each claim about a method, by the name of the claim."""
MARKS = {"holds": "✓", "fails": "**✗**", "not applicable": "(not applicable)"}
"""Mark of each verdict in tables: whether the measurement agrees with the literature."""


def decide_all(method: str, claims: Claims, metrics: Metrics, studies: Mapping[str, list[Metrics]]) -> Decided:
    """The verdicts on all claims about one method; `studies` has the cells of each study."""
    labels = claims.expected_label.get(method, {})
    return {
        name: decide(expected, claims.criteria[name], method, metrics, studies, labels.get(name), claims.paper(method, name))
        for name, expected in claims.expected.get(method, {}).items()
    }


def decide(
    expected: bool,
    claim: Claim,
    method: str,
    metrics: Metrics,
    studies: Mapping[str, list[Metrics]] | None = None,
    label: str | None = None,
    paper: Paper | None = None,
) -> dict[str, Any]:
    """The verdict on one claim, by the first criterion whose metric exists.

    Args:
        expected: whether the literature claims that the criterion is met.
        claim: the claim, with its criteria in order of precedence.
        method: the method that the claim is about.
        metrics: the metrics of the method.
        studies: the cells of each study.
        label: the literature's answer where it is neither yes nor no.
        paper: the publication that claims it.

    Raises:
        UserError: the deciding metric is not finite.
    """
    said = label or ("yes" if expected else "no"), paper
    for criterion in claim.decided_by:
        measured = measure(criterion, method, metrics, studies or {})
        if measured is None:
            continue
        if not math.isfinite(measured["mean"]):
            raise UserError(f"{method}: {criterion.metric} is {measured['mean']}: no verdict on {claim.statement!r}")
        direction, threshold = threshold_of(criterion)
        met = measured["mean"] < threshold if direction == "below" else measured["mean"] > threshold
        barred = bool(criterion.unless and look_up(metrics, criterion.unless))
        verdict = "holds" if (met and not barred) == expected else "fails"
        narrow = not barred and abs(measured["mean"] - threshold) < 2 * measured["error"]
        return _entry(claim, said, criterion, method, verdict, {**measured, "met": met, "barred": barred}, narrow=narrow)
    unmeasured = {"mean": None, "std": None, "met": None, "barred": False}
    return _entry(claim, said, claim.decided_by[0], method, "not applicable", unmeasured, narrow=False)


def measure(criterion: Criterion, method: str, metrics: Metrics, studies: Mapping[str, list[Metrics]]) -> dict[str, Any] | None:
    """The metric of a criterion with its standard `error`; None if there is none or the criterion does not apply."""
    if not all(_mean(metrics, key) > least for key, least in criterion.needs.items()):
        return None
    own = _cell(studies, criterion.study, method, criterion.cell) if criterion.study else metrics
    values = _values(own, criterion.metric)
    base = _values(own, criterion.against) if criterion.against else None
    if criterion.against_cell:
        base = _values(_cell(studies, criterion.study, method, criterion.against_cell), criterion.metric)
    if values is None or (base is None and (criterion.against or criterion.against_cell)):
        return None
    if criterion.statistic == "std":
        spreads = [np.std(values), *([] if base is None else [-np.std(base)])]
        counts = [np.size(values), *([] if base is None else [np.size(base)])]
        return {**over_seeds(sum(spreads)), "error": _error_of_spreads(spreads, counts)}
    if base is not None:
        values = (values - base) / (np.mean(base) if criterion.relative else 1)
    measured = over_seeds(values)
    return {**measured, "error": measured["std"] / math.sqrt(len(measured["values"]))}


def _error_of_spreads(spreads: Sequence[float], counts: Sequence[int]) -> float:
    """The standard error of a sum of standard deviations of normal values, each s / √(2(n − 1))."""
    return math.sqrt(sum(s**2 / (2 * max(n - 1, 1)) for s, n in zip(spreads, counts, strict=True)))


def _mean(metrics: Metrics, key: str) -> float:
    """The mean of a metric, −∞ if there is none."""
    values = _values(metrics, key)
    return -math.inf if values is None else float(np.mean(values))


def _cell(studies: Mapping[str, list[Metrics]], study: str | None, method: str, settings: Mapping[str, Any]) -> Metrics:
    """The cell of a study with these settings; `{method}` in a key is replaced by the method's name."""
    wanted = {key.format(method=method): value for key, value in settings.items()}
    cells = studies.get(study or "", [])
    return next((c for c in cells if c["method"] == method and wanted.items() <= c["settings"].items()), {})


def threshold_of(criterion: Criterion) -> tuple[str, float]:
    """The direction, below or above, and the threshold."""
    return ("below", criterion.below) if criterion.below is not None else ("above", float(criterion.above or 0))


def _entry(
    claim: Claim,
    said: tuple[str, Paper | None],
    criterion: Criterion,
    method: str,
    verdict: str,
    measured: Mapping[str, Any],
    *,
    narrow: bool,
) -> dict[str, Any]:
    direction, threshold = threshold_of(criterion)
    place = "figures/studies" if criterion.study else "figures/mog"
    label, paper = said
    return {
        "statement": claim.statement,
        "claimed": label,
        "metric": formula(criterion),
        "threshold": threshold,
        "direction": direction,
        "mean": measured["mean"],
        "std": measured["std"],
        "met": measured["met"],
        "barred": measured["barred"],
        "verdict": verdict,
        "narrow": narrow,
        "figure": f"reports/{place}/{criterion.figure.format(method=method)}",
        "reason": criterion.reason,
        "paper": paper.model_dump() if paper else None,
    }


def formula(criterion: Criterion) -> str:
    """The measured quantity as a formula."""
    metric = f"std of {criterion.metric}" if criterion.statistic == "std" else criterion.metric
    if criterion.study:
        settings = [
            ", ".join(f"{k.split('.')[-1]} {v}" for k, v in c.items()) for c in (criterion.cell, criterion.against_cell)
        ]
        metric = f"{metric} at {' − at '.join(filter(None, settings))} (study {criterion.study})"
    metric += f" − {criterion.against}" if criterion.against else ""
    metric = f"relative change of {metric}" if criterion.relative else metric
    return metric + (f" (not {criterion.unless.split('.')[-1]})" if criterion.unless else "")


def _values(metrics: Metrics, key: str) -> Any:
    """The values over seeds under a dotted key, a plain number as it is, or None if there is no such metric.

    The cells of a study are flat: their keys are dotted.
    """
    value = metrics[key] if key in metrics else look_up(metrics, key)
    return np.array(value["values"]) if isinstance(value, Mapping) else value
