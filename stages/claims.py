"""Stage claims: the claims of the literature about the methods, each decided by a metric.

Writes reports/claims.json, {METHOD: {CLAIM: {statement, claimed, metric, threshold, direction, mean, std, met, barred,
verdict, narrow, figure, reason, paper}}}, and reports/claims.md, the same as tables; results/verdicts.py decides. A claim is
not applicable if the method lacks the metric, or if the deciding study was run with other params than this run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.config.claims import load
from stages.config.params import Params
from stages.core import paths
from stages.dag import leftovers
from stages.pipeline import artifacts, files, runner
from stages.results import claim_cells
from stages.results.tables import table
from stages.results.verdicts import Decided, decide_all


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
    summary = {method: claim_cells.columns(claims, links=True) for method, claims in decided.items()}
    overview = table(["method", *claim_cells.COLUMNS], ([m, *cells] for m, cells in summary.items() if set(cells) != {"–"}))
    rows = [
        [method, entry["statement"], *claim_cells.row(entry), entry["reason"]]
        for method, claims in decided.items()
        for entry in claims.values()
        if entry["mean"] is not None
    ]
    text = overview + "\n" + table(["method", "claim", *claim_cells.HEADING, "meaning"], rows)
    return text.replace("](reports/", "](")


if __name__ == "__main__":
    runner.run(main, threads=1)
