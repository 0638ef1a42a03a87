"""Stage claims: what is said of the methods, each decided by a measured figure.

Writes reports/claims.json, {METHOD: {CLAIM: {claimed, metric, threshold, direction, mean, std, verdict, figure, reason}}}, and
reports/claims.md, the same as a table. A claim holds where the mean over seeds lies on the side of the threshold that it says;
one that says "no" holds where it does not. Where the method has no such figure the claim is not applicable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages import runtime
from stages.lookup import look_up
from stages.metrics.measured import figure
from stages.params import Criterion, Params


def main(params: Params) -> None:
    """Decide every claim about the methods of this run."""
    claims = params.claims
    decided: dict[str, Any] = {}
    for method in params.methods:
        metrics = runtime.read_json(Path(f"reports/metrics/mog/{method}.json"))
        stated = claims.stated.get(method, {})
        decided[method] = {claim: decide(said, claims.criteria[claim], metrics) for claim, said in stated.items()}
        for entry in decided[method].values():
            entry["figure"] = f"reports/figures/mog/{entry['figure'].format(method=method)}"
    runtime.write_json(Path("reports/claims.json"), decided)
    runtime.write_text(Path("reports/claims.md"), markdown(decided))


def decide(said: bool, criteria: Sequence[Criterion], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on one claim by the first criterion whose metric is there.

    Args:
        said: what is claimed: that the criterion is met, or that it is not.
        criteria: in the order of their precedence.
        metrics: what was measured of the method.
    """
    for criterion in criteria:
        values = _values(metrics, criterion.metric)
        if values is None:
            continue
        base = _values(metrics, criterion.against) if criterion.against else None
        measured = figure(values if base is None else values - base)
        direction, threshold = _bound(criterion)
        met = measured["mean"] < threshold if direction == "below" else measured["mean"] > threshold
        verdict = "holds" if met == said else "fails"
        return _entry(said, criterion, verdict) | {"mean": measured["mean"], "std": measured["std"]}
    return _entry(said, criteria[0], "not applicable") | {"mean": None, "std": None}


def _bound(criterion: Criterion) -> tuple[str, float]:
    return ("below", criterion.below) if criterion.below is not None else ("above", float(criterion.above or 0))


def _entry(said: bool, criterion: Criterion, verdict: str) -> dict[str, Any]:
    direction, threshold = _bound(criterion)
    return {
        "claimed": "yes" if said else "no",
        "metric": criterion.metric + (f" − {criterion.against}" if criterion.against else ""),
        "threshold": threshold,
        "direction": direction,
        "verdict": verdict,
        "figure": criterion.figure,
        "reason": criterion.reason,
    }


def _values(metrics: Mapping[str, Any], key: str) -> Any:
    """The values over seeds under a dotted key, a plain number as it is, or None where there is no such figure."""
    value = look_up(metrics, key)
    return np.array(value["values"]) if isinstance(value, Mapping) else value


def markdown(decided: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per claim; a claim that fails stands out."""
    lines = ["| method | claim | said | measured | bound | verdict |", "|---|---|---|---|---|---|"]
    for method, claims in decided.items():
        for claim, entry in claims.items():
            measured = "–" if entry["mean"] is None else f"{entry['mean']:.3g} ± {entry['std']:.2g}"
            verdict = f"**{entry['verdict']}**" if entry["verdict"] == "fails" else entry["verdict"]
            picture = f"[{verdict}]({entry['figure']})"
            bound = f"{entry['metric']} {entry['direction']} {entry['threshold']:g}"
            name = claim.replace("_", " ")
            lines.append(f"| {method} | {name} | {entry['claimed']} | {measured} | {bound} | {picture} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    runtime.run(main)
