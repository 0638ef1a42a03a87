"""Table, caption and picture of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from stages.config.claims import Claims
from stages.pipeline import files
from stages.plots import studies
from stages.results.tables import cell as shown
from stages.results.tables import table
from stages.results.verdicts import MARKS, decide_all
from stages.studies.grid import REPORTS, Study, varied


def with_verdicts(study: Study, found: Sequence[dict[str, Any]], claims: Claims) -> list[dict[str, Any]]:
    """The cells with the verdicts on all `claims` about their methods, if the study decides claims; needs no training."""
    if not study.claims:
        return list(found)
    others = {claimed: files.read_json(REPORTS / f"{name}.json")["cells"] for claimed, name in study.studies.items()}
    return [{**cell, "claims": decide_all(cell["method"], claims, cell["metrics"], others)} for cell in found]


def markdown(name: str, study: Study, found: Sequence[Mapping[str, Any]], standing: str) -> str:
    """Caption, metrics with one row per cell, verdicts if claims were decided, and provenance."""
    keys = [key for key in study.keep if any(key in cell for cell in found)]
    text = caption(name, study, found) + "\n\n"
    text += table(["cell", *keys], ([_label(cell, study), *(shown(cell.get(key)) for key in keys)] for cell in found))
    if study.claims:
        names = list(dict.fromkeys(name for cell in found for name in cell["claims"]))
        rows = ([_label(cell, study), *(_verdict(cell["claims"].get(name)) for name in names)] for cell in found)
        text += "\n" + table(["cell", *(name.replace("_", " ") for name in names)], rows)
    return f"{text}\n{standing[0].upper()}{standing[1:]}\n"


def caption(name: str, study: Study, found: Sequence[Mapping[str, Any]]) -> str:
    """The smallest and largest value of each metric with their cells, and the claims that fail."""
    parts = []
    for key in study.keep:
        cells = sorted((cell for cell in found if key in cell), key=lambda cell: _mean(cell[key]))
        if len(cells) > 1 and _mean(cells[0][key]) < _mean(cells[-1][key]):
            ends = (f"{shown(cell[key])} ({_label(cell, study)})" for cell in (cells[0], cells[-1]))
            parts.append(f"{key} from {' to '.join(ends)}")
    fails = [
        f"{cell['method']}: {n.replace('_', ' ')}"
        for cell in found
        for n, c in cell.get("claims", {}).items()
        if c["verdict"] == "fails"
    ]
    failing = f" Claims that fail: {', '.join(fails)}." if fails else ""
    return f"*Study {name}.* {'; '.join(parts) or 'No metric differs between cells'}.{failing}"


def _mean(metric: Any) -> float:
    return float(metric["mean"] if isinstance(metric, Mapping) else metric)


def _verdict(claim: Mapping[str, Any] | None) -> str:
    """The literature's answer with a mark that says whether the measurement agrees."""
    return f"{claim['claimed']} {MARKS[claim['verdict']]}" if claim else "–"


def draw(name: str, study: Study, found: list[dict[str, Any]]) -> Figure:
    """The study as a picture: verdicts if it decides claims, lines over a varied numeric param, else one row per cell."""
    keys = [key for key in study.keep if any(key in cell for cell in found)]
    if study.claims:
        verdicts = {_label(cell, study): {k: claim["verdict"] for k, claim in cell["claims"].items()} for cell in found}
        deltas = {key: [cell.get(key) for cell in found] for key in keys if "delta_" in key}
        return studies.verdicts(verdicts, deltas, f"study {name}: {', '.join(f'{k} {v[0]}' for k, v in study.grid.items())}")
    axis = _axis(study)
    if axis:
        lines = dict[str, list[dict[str, Any]]]()
        for cell in found:
            lines.setdefault(_label(cell, study, without=axis[0]), []).append(cell)
        values = {key: {label: [cell.get(key) for cell in along] for label, along in lines.items()} for key in keys}
        return studies.lines(axis[1], values, axis[0].format(method="METHOD"), f"study {name}")
    labels = [_label(cell, study) for cell in found]
    return studies.bars(labels, {key: [cell.get(key) for cell in found] for key in keys}, f"study {name}")


def _axis(study: Study) -> tuple[str, list[float]] | None:
    """The param of the horizontal axis with its values, the first varied one; None if it is not numeric.

    Of params that are varied jointly, it is the first. One more param of the grid may be varied: each of its values is a line.
    """
    along = [(key, values) for key, values in study.grid.items() if len(values) > 1]
    if study.together:
        if along:
            return None
        along = list(study.together.items())[:1]
    if not 1 <= len(along) <= 2:
        return None
    key, values = along[0]
    numbers = [_number(value) for value in values]
    return (key, numbers) if len(set(numbers)) == len(numbers) and None not in numbers else None  # type: ignore[return-value]


def _number(value: Any) -> float | None:
    """A param as a number: a number itself, or the common entry of a list with equal entries; else None."""
    if isinstance(value, list) and len(set(value)) == 1:
        return _number(value[0])
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _label(cell: Mapping[str, Any], study: Study, without: str = "") -> str:
    """What distinguishes a cell: its method and the varied params except `without`."""
    names = [key for key, values in varied(study).items() if len(values) > 1 and key != without]
    if without in study.together:
        names = []
    settings = ((key, cell["settings"][key.format(method=cell["method"])]) for key in names)
    parts = [f"{key.split('.')[-1].replace('_', ' ')} {value}" for key, value in settings]
    return ", ".join(([cell["method"]] if len(study.methods) > 1 or not parts else []) + parts)
