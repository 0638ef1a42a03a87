"""Stage claims: the claims of the literature about the methods, each decided by a metric.

Writes reports/claims.json, {METHOD: {CLAIM: {statement, claimed, metric, threshold, direction, mean, std, met, barred,
verdict, narrow, figure, reason, paper}}}, and reports/claims.md, the same as tables; results/verdicts.py decides. A claim is
not applicable if the method lacks the metric, or if the deciding study was run with other params than this run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.config.claims import load
from stages.config.params import Params
from stages.core import paths
from stages.dag import leftovers
from stages.pipeline import artifacts, files, runner
from stages.results.tables import table
from stages.results.verdicts import MARKS, Decided, decide_all

TABLE = {
    "in-batch negatives": ("in_batch_negatives",),
    "learns score": ("learns_score",),
    "samples": ("samples",),
    "global structure": ("stabler", "global_distances", "some_global_distances", "mixing_weights"),
    "masked prediction": ("masked_prediction",),
}
"""The columns of the overview table and their claims."""


def main(params: Params) -> None:
    """Decide all claims about the methods of this run."""
    leftovers.remove()
    claims = load()
    criteria = [criterion for claim in claims.criteria.values() for criterion in claim.decided_by]
    named = sorted({criterion.study for criterion in criteria if criterion.study})
    found = {name: files.read_json(paths.STUDIES / f"{name}.json") for name in named}
    studies = {name: _of_this_run(study, params) for name, study in found.items()}
    decided: dict[str, Decided] = {}
    for method in params.methods:
        metrics = files.read_json(artifacts.metrics("mog", method))
        decided[method] = decide_all(method, claims, metrics, studies)
    files.write_json(artifacts.CLAIMS, decided)
    files.write_text(artifacts.CLAIMS_TABLE, markdown(decided))


def _of_this_run(study: Mapping[str, Any], params: Params) -> list[Mapping[str, Any]]:
    """The cells of a study that have the mixture and the method's params of this run."""
    if study["preset"] != params.mog.preset:
        return []
    now = {name: params.block(name) for name in study["blocks"]}
    return [cell for cell in study["cells"] if study["blocks"][cell["method"]] == now[cell["method"]]]


def markdown(decided: Mapping[str, Decided]) -> str:
    """An overview table, then all decided claims; disagreements are bold."""
    columns = [column for column, names in TABLE.items() if any(set(names) & set(claims) for claims in decided.values())]
    summary = []
    for method, claims in decided.items():
        grouped = ([claims[name] for name in TABLE[column] if name in claims] for column in columns)
        cells = ["; ".join(map(_short, entries)) for entries in grouped]
        if any(cells):
            summary.append([method, *(cell or "–" for cell in cells)])
    rows = [
        [
            method,
            entry["statement"],
            _literature(entry),
            _measured(entry),
            f"{entry['metric']} {entry['direction']} {entry['threshold']:g}",
            entry["reason"],
            _verdict(entry),
        ]
        for method, claims in decided.items()
        for entry in claims.values()
        if entry["mean"] is not None
    ]
    overview = table(["method", *columns], summary) + "\n" if columns else ""
    return overview + table(["method", "claim", "literature says", "measured", "threshold", "meaning", "agree?"], rows)


def _literature(entry: Mapping[str, Any]) -> str:
    """The literature's answer, with the paper."""
    paper = entry["paper"]
    return f"{entry['claimed']} ([{paper['cite']}]({paper['url']}))" if paper else f"{entry['claimed']} (no paper)"


def _measured(entry: Mapping[str, Any]) -> str:
    return f"{entry['mean']:.3g} ± {entry['std']:.2g}" if entry["std"] else f"{entry['mean']:.3g}"


def _verdict(entry: Mapping[str, Any]) -> str:
    """Whether measurement and literature agree, linked to the picture."""
    agree = "**no**" if entry["verdict"] == "fails" else "yes"
    return f"[{agree}]({_picture(entry)}){', narrowly' if entry['narrow'] else ''}"


def _short(entry: Mapping[str, Any]) -> str:
    """The literature's answer, marked ✓ where the measurement agrees and ✗ where it does not."""
    mark = MARKS[entry["verdict"]]
    return f"{entry['claimed']} {mark}" if entry["mean"] is None else f"{entry['claimed']} [{mark}]({_picture(entry)})"


def _picture(entry: Mapping[str, Any]) -> str:
    return Path(entry["figure"]).relative_to("reports").as_posix()


if __name__ == "__main__":
    runner.run(main, threads=1)
