"""Blocks of Markdown that the README and the book take from the committed results.

Links in a block are paths from the project's folder with a leading slash; the page that includes it makes them relative.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.config import params as parameters
from stages.config.claims import load as load_claims
from stages.core import paths
from stages.core.errors import UserError
from stages.metrics.paired import holm, verdict
from stages.pipeline import artifacts, files
from stages.pipeline.descriptions import describe
from stages.pipeline.lookup import look_up
from stages.results import claim_cells
from stages.results.metric_names import NAMES, name
from stages.results.tables import cell, table
from stages.studies import finding
from stages.studies.grid import load as load_study
from stages.studies.grid import names as study_names

METHOD_PAGES = Path("docs/methods")
"""Folder of the pages of the methods."""
OVERVIEW = ("contrastive", "dsm", "jepa_pairwise", "jepa_masked", "jepa_ema")
"""Methods of the overview, by name."""
EQUATION = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
"""The first equation of a method's page: its loss."""
PAPER = re.compile(r"^Paper: \[(?P<cite>[^*\]]+?),? \*.+?\]\((?P<url>.+?)\)", re.MULTILINE)
"""The line of a method's page with its paper: authors and year, the title in italics, the link."""
NOT_HERE = "*This run does not have this method.*\n"
"""In place of the results of a method that is not in `methods`."""
RAW_FIELDS, RAW = artifacts.RAW_PIXELS.stem, "raw pixels"
"""The name of raw pixels in reports/fields and in the paired tests."""
OUTDATED = " (by earlier code)"
"""What follows a value of an outdated study in a sentence."""
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
        rows.append([picture, f"{_linked(method)}<br>`{method}`", paper, loss])
    return table(["over training", "method", "paper", "loss"], rows)


def _linked(method: str) -> str:
    """The name of a method, linked to its page if it has one."""
    title = describe(method).title
    return f"[{title}](/{page(method)})" if page(method).is_file() else title


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
    for method in filter(decided.__contains__, OVERVIEW):
        rows.append([_linked(method), *claim_cells.columns(decided[method])])
    return table(["method", *claim_cells.COLUMNS], rows)


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


def paired(*names: str) -> str:
    """The output of the code in the guide to comparisons of embeddings: k-NN tests, with Holm's correction over these pairs."""
    of_knn = [test for test in files.read_json(artifacts.MNIST_TESTS)["tests"] if test["task"] == "k-NN"]
    found = {(test["first"], test["second"]): test for test in of_knn}
    pairs = {pair: found.get((pair[0], RAW if pair[1] == RAW_FIELDS else pair[1])) for pair in itertools.combinations(names, 2)}
    tests = [test for test in pairs.values() if test]
    if len(tests) < len(pairs):
        return NOT_HERE
    lines = [
        f"{first} against {second}: {test['only_first']} to {test['only_second']} images, "
        f"difference {test['difference']:+.4f}, p = {test['p']:.2g}, adjusted p = {p:.2g}: {verdict(test['difference'], p)}"
        for (first, second), test, p in zip(pairs, tests, holm([test["p"] for test in tests]), strict=True)
    ]
    return "```text\n" + "\n".join(lines) + "\n```\n"


def results(method: str) -> str:
    """The metrics of a method on the mixture and, if it is trained on them, on the images."""
    params = parameters.load()
    if method not in params.methods:
        return NOT_HERE
    text = _metrics_table(_metrics("mog", method))
    if method in params.mnist.methods:
        text += f"\nOn {params.mnist.title}:\n\n" + _metrics_table(_metrics("mnist", method))
    return text


def _metrics_table(found: Mapping[str, Any]) -> str:
    values = {key: look_up(found, key) for key in NAMES}
    shown = [[NAMES[key].with_arrow, cell(value), f"`{key}`"] for key, value in values.items() if value is not None]
    return table(["metric", "measured", "key"], shown)


def claims(method: str) -> str:
    """The claims about a method, what was measured, and whether they agree."""
    rows = [[one["statement"], *_claim(one)] for one in _claims().get(method, {}).values()]
    return table(["claim", *claim_cells.HEADING], rows) if rows else NOT_HERE


def all_claims() -> str:
    """All claims, grouped by claim."""
    decided, criteria = _claims(), load_claims().criteria
    sections = []
    for key, claim in criteria.items():
        rows = [[_linked(m), *_claim(of[key])] for m, of in decided.items() if key in of]
        if rows:
            measured = [of[key] for of in decided.values() if key in of and of[key]["mean"] is not None]
            reasons = {one["metric"]: one["reason"] for one in measured}
            explained = "".join(f"- `{metric}`: {reason}.\n" for metric, reason in reasons.items())
            studied = ", ".join(f"[`{one}`](/docs/studies.md#{one})" for one in claim.turns_in)
            explained += f"- The verdict depends on the settings: study {studied}.\n" if studied else ""
            heading = f"{claim.statement[0].upper()}{claim.statement[1:]}"
            text = table(["method", *claim_cells.HEADING], rows)
            sections.append(f"### {heading}\n\n{explained}{explained and chr(10)}{text}")
    return "\n".join(sections)


def _claim(entry: Mapping[str, Any]) -> list[str]:
    """Cells of a claim, with a link from the project's folder."""
    return [cell_.replace("](reports/", "](/reports/") for cell_ in claim_cells.row(entry)]


def studies() -> str:
    """All studies: finding, notices, picture, table and provenance; an incomplete study has no picture."""
    sections = []
    for study in study_names():
        file = paths.STUDIES / f"{study}.md"
        if load_study(study).cases or not file.is_file():
            continue
        published = files.read_json(paths.STUDIES / f"{study}.json")
        headline, _, rest = file.read_text(encoding="utf-8").strip().partition("\n\n")
        notices = "".join(f"{notice}\n\n" for notice in published.get("notices", ()))
        picture = f"![{headline}](/{artifacts.FIGURES}/studies/{study}.png)\n\n" * ("incomplete" not in published)
        command = f"Study `{study}`, {_repetitions(published['cells'])}: `python -m stages.studies.run {study}`"
        text = f"{notices}{picture}{command}\n\n{rest.removeprefix(notices).rstrip()}"
        sections.append(f'<a id="{study}"></a>\n\n## {headline}\n\n{text}\n')
    return "\n".join(sections)


def _repetitions(cells: Sequence[Mapping[str, Any]]) -> str:
    """How many seeds, or single runs, the metrics of cells are over."""
    counts = {
        len(value["values"]) for one in cells for value in one.values() if isinstance(value, Mapping) and "values" in value
    }
    return "one run per setting" if max(counts, default=1) == 1 else f"{max(counts)} seeds per setting"


def exercise(method: str, number: str) -> str:
    """The command of an exercise and, folded, the metrics with and without its change.

    Raises:
        UserError: there is no such exercise, or the study `exercises` is incomplete.
    """
    published = _complete_study("exercises")
    cells = published["cells"]
    cases = zip(load_study("exercises").cases, cells, strict=True)
    found = [(case, measured) for case, measured in cases if case.method == method]
    if not number.isdigit() or not 1 <= int(number) <= len(found):
        raise UserError(f"{method} has no exercise {number}: the study `exercises` has {len(found)} cases of it")
    if method not in parameters.load().methods:
        return NOT_HERE
    case, measured = found[int(number) - 1]
    changed = " ".join(f"-S {key}={_value(value)}" for key, value in case.settings.items())
    stage = f" mog_evaluate@{method}" if any(key.startswith("mog.") for key in case.settings) else ""
    committed = _metrics("mog", method)
    metrics = {key: look_up(committed, key) for key in measured if key in case.shows}
    rows = [[name(key).with_arrow, cell(before), cell(measured[key])] for key, before in metrics.items()]
    answer = table(["metric", "as committed", "with the change"], rows)
    if case.why:
        shown = all(change in finding.changed(measured[key], metrics[key]) for key, change in case.shows.items())
        answer += f"\n{'' if shown else finding.NOT_SHOWN}{case.why}\n"
    answer = "".join(f"{notice}\n\n" for notice in published.get("notices", ())) + answer
    return f"```bash\ndvc exp run {changed}{stage}\n```\n\n<details><summary>Answer</summary>\n\n{answer}\n</details>\n"


def _complete_study(study: str) -> dict[str, Any]:
    """A published study with all its cells, which have numbers in the book.

    Raises:
        UserError: it is incomplete.
    """
    published = files.read_json(paths.STUDIES / f"{study}.json")
    if "incomplete" in published:
        raise UserError(f"the study {study} is incomplete: {published['notices'][0]}")
    return published


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def report(file: str) -> str:
    """A report of the pipeline, reports/FILE.md."""
    return (paths.ROOT / f"reports/{file}.md").read_text(encoding="utf-8").replace("](figures/", "](/reports/figures/")


def value(key: str, spec: str = "") -> str:
    """A metric in a sentence: mean ± std, or the mean in a format; that of an outdated study says so.

    Args:
        key: DOMAIN.METHOD.METRIC; METRIC-OTHER for the difference of the mean to that of the metric METRIC_OTHER, such as a
            floor; STUDY.study.NUMBER.METRIC for cell NUMBER of a study, from 1; or count.methods, count.claims, count.agree,
            count.disagree.
        spec: a format such as .3f for the mean; empty for mean ± std.

    Raises:
        UserError: there is no such metric, or its study is incomplete.
    """
    domain, _, rest = key.partition(".")
    if domain == "count":
        return str(_look_up(_counts(), rest, key))
    method, _, metric = rest.partition(".")
    if method == "study":
        number, _, metric = metric.partition(".")
        published = _complete_study(domain)
        found = _look_up(published["cells"][int(number) - 1], metric, key)
        return (format(_mean(found), spec) if spec else cell(found)) + OUTDATED * ("outdated" in published)
    if method not in _methods_of(domain) and Path(f"stages/methods/{method}.py").is_file():
        return "–"
    base, _, ending = metric.partition("-")
    metrics = _metrics(domain, method)
    found = _look_up(metrics, base, key)
    if ending:
        return format(_mean(found) - _mean(_look_up(metrics, f"{base}_{ending}", key)), spec or ".4g")
    return format(_mean(found), spec) if spec else cell(found)


def _methods_of(domain: str) -> list[str]:
    params = parameters.load()
    return {"mog": params.methods, "mnist": params.mnist.methods, "pixels": params.pixels.methods}[domain]


def _look_up(metrics: Mapping[str, Any], metric: str, key: str) -> Any:
    """A metric under a dotted key, or a flat one.

    Raises:
        UserError: there is none.
    """
    found = metrics.get(metric, look_up(metrics, metric))
    if found is None:
        raise UserError(f"{key} is not a metric of the committed results")
    return found


def _mean(metric: Any) -> float:
    return float(metric["mean"] if isinstance(metric, Mapping) else metric)


def _counts() -> dict[str, int]:
    decided = [entry for of in _claims().values() for entry in of.values()]
    applicable = [entry for entry in decided if entry["verdict"] != "not applicable"]
    return {
        "methods": len(parameters.load().methods),
        "claims": len(applicable),
        "agree": sum(entry["verdict"] == "holds" for entry in applicable),
        "disagree": sum(entry["verdict"] == "fails" for entry in applicable),
    }
