"""Blocks of Markdown that the README and the book take from the committed results.

Links in a block are paths from the project's folder with a leading slash; the page that includes it makes them relative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.config import params as parameters
from stages.config.claims import load as load_claims
from stages.core import paths
from stages.core.errors import UserError
from stages.pipeline import artifacts, files
from stages.pipeline.descriptions import describe
from stages.pipeline.lookup import look_up
from stages.results.metric_names import NAMES, name
from stages.results.tables import cell, table
from stages.results.verdicts import MARKS
from stages.studies.grid import load as load_study

METHOD_PAGES = Path("docs/methods")
"""Folder of the pages of the methods."""
OVERVIEW = ("contrastive", "dsm", "jepa_pairwise", "jepa_masked", "jepa_ema")
"""Methods of the overview, by name."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "in-batch negatives": ("in_batch_negatives",),
    "learns score": ("learns_score",),
    "samples": ("samples",),
    "global structure": ("global_distances", "some_global_distances", "mixing_weights", "stabler"),
    "masked prediction": ("masked_prediction",),
}
"""Columns of the overview and the claims in each, of which a method has one or more."""
EQUATION = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
"""The first equation of a method's page: its loss."""
PAPER = re.compile(r"^Paper: \[(?P<cite>[^*\]]+?),? \*.+?\]\((?P<url>.+?)\)", re.MULTILINE)
"""The line of a method's page with its paper: authors and year, the title in italics, the link."""
KNN = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
"""Metrics of k-NN on the images."""


def _claims() -> Any:
    return files.read_json(artifacts.CLAIMS)


def _metrics(domain: str, method: str) -> Any:
    return files.read_json(artifacts.metrics(domain, method))


def page(method: str) -> Path:
    """The page of a method in the book."""
    return METHOD_PAGES / f"{method}.md"


def methods() -> str:
    """All methods on the mixture: name, loss, paper, landscape over training."""
    rows = []
    for method in parameters.load().methods:
        loss, paper = _of_page(method)
        picture = f'<img src="/{artifacts.figures("mog", method)}/training.gif" width="120" alt="">'
        rows.append([picture, f"[{describe(method).title}](/{page(method)})<br>`{method}`", loss, paper])
    return table(["over training", "method", "loss", "paper"], rows)


def _of_page(method: str) -> tuple[str, str]:
    """The first equation of a method's page, as inline mathematics, and its paper; – where there is no page."""
    file = page(method)
    if not file.is_file():
        return "–", "–"
    text = file.read_text(encoding="utf-8")
    equation, paper = EQUATION.search(text), PAPER.search(text)
    if not equation or not paper:
        raise UserError(f"{file}: expected an equation between $$ and a line that starts with Paper:")
    return f"${' '.join(equation[1].split()).rstrip('.,')}$", f"[{paper['cite']}]({paper['url']})"


def overview() -> str:
    """What the literature says of five methods, and whether the measurement agrees."""
    decided = _claims()
    rows = []
    for method in OVERVIEW:
        found = decided.get(method, {})
        grouped = [[found[claim] for claim in claims if claim in found] for claims in COLUMNS.values()]
        cells = ["; ".join(f"{one['claimed']} {MARKS[one['verdict']]}" for one in entries) or "–" for entries in grouped]
        rows.append([f"[{describe(method).title}](/{page(method)})", *cells])
    return table(["method", *COLUMNS], rows)


def mnist() -> str:
    """k-NN and linear probe on the images, by embedding."""
    found = {method: _metrics("mnist", method) for method in parameters.load().mnist.methods}
    first = next(iter(found.values()))
    rows = [
        [describe(m).title, *(cell(v["knn"][key]) for key in KNN), cell(v["linear_probe"]["accuracy"])]
        for m, v in found.items()
    ]
    for label, key in (("untrained encoder", "untrained"), ("raw pixels", "raw_pixels")):
        rows.append([label, *(cell(first[f"knn_{key}"][one]) for one in KNN), cell(first[key]["linear_probe"]["accuracy"])])
    return table(["embedding", *(name(f"knn.{key}").label for key in KNN), "linear probe"], rows)


def results(method: str) -> str:
    """The metrics of a method on the mixture and, if it is trained on them, on the images."""
    found = _metrics("mog", method)
    text = _metrics_table(found)
    if method in parameters.load().mnist.methods:
        text += f"\nOn {parameters.load().mnist.title}:\n\n" + _metrics_table(_metrics("mnist", method))
    return text


def _metrics_table(found: Mapping[str, Any]) -> str:
    values = {key: look_up(found, key) for key in NAMES}
    shown = [[NAMES[key].with_arrow, cell(value), f"`{key}`"] for key, value in values.items() if value is not None]
    return table(["metric", "measured", "key"], shown)


def claims(method: str) -> str:
    """The claims about a method, what was measured, and whether they agree."""
    rows = [[one["statement"], *_claim(one)] for one in _claims()[method].values()]
    return table(["claim", "literature says", "measured", "criterion", "agree?"], rows)


def all_claims() -> str:
    """All claims, grouped by claim."""
    decided, criteria = _claims(), load_claims().criteria
    sections = []
    for key, claim in criteria.items():
        rows = [[f"[{describe(m).title}](/{page(m)})", *_claim(of[key])] for m, of in decided.items() if key in of]
        if rows:
            reasons = dict.fromkeys(of[key]["reason"] for of in decided.values() if key in of and of[key]["mean"] is not None)
            explained = "".join(f"- {reason[0].upper()}{reason[1:]}.\n" for reason in reasons)
            heading = f"{claim.statement[0].upper()}{claim.statement[1:]}"
            head = ["method", "literature says", "measured", "criterion", "agree?"]
            sections.append(f"### {heading}\n\n{explained}{explained and chr(10)}{table(head, rows)}")
    return "\n".join(sections)


def _claim(entry: Mapping[str, Any]) -> list[str]:
    """Cells of a claim: the literature's answer and paper, the measured value, the criterion, and whether both agree."""
    paper = entry["paper"]
    source = f"{entry['claimed']} ([{paper['cite']}]({paper['url']}))" if paper else f"{entry['claimed']} (no paper)"
    if entry["mean"] is None:
        return [source, "–", "–", "not applicable"]
    measured = f"{entry['mean']:.3g} ± {entry['std']:.2g}" if entry["std"] else f"{entry['mean']:.3g}"
    agree = "**no**" if entry["verdict"] == "fails" else "yes"
    shown = f"[{agree}](/{entry['figure']}){', narrowly' if entry['narrow'] else ''}"
    return [source, measured, f"{entry['metric']} {entry['direction']} {entry['threshold']:g}", shown]


def studies() -> str:
    """All studies: finding, picture, table and provenance."""
    sections = []
    for file in sorted(paths.STUDIES.glob("*.md")):
        if not (artifacts.FIGURES / f"studies/{file.stem}.png").is_file():
            continue
        finding, _, rest = file.read_text(encoding="utf-8").strip().partition("\n")
        picture = f"![{finding}](/{artifacts.FIGURES}/studies/{file.stem}.png)"
        command = f"Study `{file.stem}`: `python -m stages.studies.run {file.stem}`"
        sections.append(f"## {finding}\n\n{picture}\n\n{command}\n{rest.rstrip()}\n")
    return "\n".join(sections)


def exercise(method: str, number: str) -> str:
    """The command of an exercise and, folded, the metrics with and without its change."""
    found = [one for one in _exercises() if one["method"] == method]
    case = found[int(number) - 1]
    changed = " ".join(f"-S {key}={_value(value)}" for key, value in case["settings"].items())
    shown = [key for key in case if key not in ("method", "settings", "why")]
    metrics = _metrics("mog", method)
    rows = [[name(key).with_arrow, cell(look_up(metrics, key)), cell(case[key])] for key in shown]
    answer = table(["metric", "as committed", "with the change"], rows)
    answer += f"\n{case['why']}\n" if case["why"] else ""
    return f"```bash\ndvc exp run {changed}\n```\n\n<details><summary>Answer</summary>\n\n{answer}\n</details>\n"


def _exercises() -> list[Any]:
    """The cells of the study `exercises`, each with the metrics that its case shows."""
    cells = files.read_json(paths.STUDIES / "exercises.json")["cells"]
    found = []
    for cell_, case in zip(cells, load_study("exercises").cases, strict=True):
        kept = {"method", "settings", *case.shows}
        found.append({**{key: value for key, value in cell_.items() if key in kept}, "why": case.why})
    return found


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def report(file: str) -> str:
    """A report of the pipeline, reports/FILE.md."""
    return (paths.ROOT / f"reports/{file}.md").read_text(encoding="utf-8").replace("](figures/", "](/reports/figures/")


def value(key: str, spec: str = "") -> str:
    """A metric in a sentence: mean ± std, or the mean in a format.

    Args:
        key: DOMAIN.METHOD.METRIC, with the ending `-floor` minus its floor; or count.methods, count.claims, count.agree,
            count.disagree.
        spec: a format such as .3f; empty for mean ± std.

    Raises:
        UserError: there is no such metric.
    """
    domain, _, rest = key.partition(".")
    if domain == "count":
        return str(_counts()[rest])
    method, _, metric = rest.partition(".")
    name, _, ending = metric.partition("-")
    metrics = _metrics(domain, method)
    found, floor = look_up(metrics, name), look_up(metrics, f"{name}_{ending}") if ending else 0.0
    if found is None or floor is None:
        raise UserError(f"{key} is not a metric of the committed results")
    if not spec:
        return cell(found) if isinstance(found, Mapping) else f"{found:.4g}"
    return format((found["mean"] if isinstance(found, Mapping) else found) - floor, spec)


def _counts() -> dict[str, int]:
    decided = [entry for of in _claims().values() for entry in of.values()]
    applicable = [entry for entry in decided if entry["verdict"] != "not applicable"]
    return {
        "methods": len(parameters.load().methods),
        "claims": len(applicable),
        "agree": sum(entry["verdict"] == "holds" for entry in applicable),
        "disagree": sum(entry["verdict"] == "fails" for entry in applicable),
    }
