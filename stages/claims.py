"""Stage claims: what is said of the methods, each decided by a measured figure.

Writes reports/claims.json, {METHOD: {CLAIM: {statement, claimed, metric, threshold, direction, mean, std, met, barred,
verdict, narrow, figure, reason}}}, and reports/claims.md, the same as tables; how it is decided is in verdicts.py. A claim is
not applicable where the method has no such figure, nor where a study decides whose mixture or method is not set as in this run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.config.claims import load
from stages.config.params import Params
from stages.core import paths
from stages.dag import leftovers
from stages.pipeline import files, runner
from stages.results.tables import table
from stages.results.verdicts import Decided, decide_all

TABLE = {
    "contrastive": ("contrastive",),
    "learns score": ("learns_score",),
    "samples": ("samples",),
    "global structure": ("stabler", "global_structure", "some_global_structure"),
    "masked prediction": ("masked_prediction",),
}
"""The columns of the first table, which every method has: the claims that are made of it are among these."""


def main(params: Params) -> None:
    """Decide every claim about the methods of this run."""
    leftovers.remove()
    claims = load()
    criteria = [criterion for claim in claims.criteria.values() for criterion in claim.decided_by]
    named = sorted({criterion.study for criterion in criteria if criterion.study})
    found = {name: files.read_json(paths.STUDIES / f"{name}.json") for name in named}
    studies = {name: _of_this_run(study, params) for name, study in found.items()}
    decided: dict[str, Decided] = {}
    for method in params.methods:
        metrics = files.read_json(Path(f"reports/metrics/mog/{method}.json"))
        decided[method] = decide_all(method, claims, metrics, studies)
    files.write_json(Path("reports/claims.json"), decided)
    files.write_text(Path("reports/claims.md"), markdown(decided))


def _of_this_run(study: Mapping[str, Any], params: Params) -> list[Mapping[str, Any]]:
    """Those cells of a study that were made with the mixture and the method's block that this run has."""
    if study["preset"] != params.mog.preset:
        return []
    now = {name: params.block(name) for name in study["blocks"]}
    return [cell for cell in study["cells"] if study["blocks"][cell["method"]] == now[cell["method"]]]


def markdown(decided: Mapping[str, Decided]) -> str:
    """The claims that are asked of every method as one table, then every claim with its figure; what fails stands out."""
    columns = [column for column, names in TABLE.items() if any(set(names) & set(claims) for claims in decided.values())]
    asked = []
    for method, claims in decided.items():
        made = ([claims[name] for name in TABLE[column] if name in claims] for column in columns)
        cells = ["; ".join(map(_short, entries)) for entries in made]
        if any(cells):
            asked.append([method, *(cell or "–" for cell in cells)])
    rows = [
        [
            method,
            entry["statement"],
            entry["claimed"],
            _measured(entry),
            f"{entry['metric']} {entry['direction']} {entry['threshold']:g}",
            entry["reason"],
            _verdict(entry),
        ]
        for method, claims in decided.items()
        for entry in claims.values()
        if entry["mean"] is not None
    ]
    overview = table(["method", *columns], asked) + "\n" if columns else ""
    return overview + table(["method", "claim", "said", "measured", "bound", "reason of the bound", "verdict"], rows)


def _measured(entry: Mapping[str, Any]) -> str:
    return f"{entry['mean']:.3g} ± {entry['std']:.2g}" if entry["std"] else f"{entry['mean']:.3g}"


def _verdict(entry: Mapping[str, Any]) -> str:
    verdict = f"**{entry['verdict']}**" if entry["verdict"] == "fails" else entry["verdict"]
    return f"[{verdict}]({Path(entry['figure']).relative_to('reports')}){', narrowly' if entry['narrow'] else ''}"


def _short(entry: Mapping[str, Any]) -> str:
    """What is said, and whether it is so."""
    return f"{entry['claimed']}: {entry['verdict'] if entry['mean'] is None else _verdict(entry)}"


if __name__ == "__main__":
    runner.run(main, threads=1)
