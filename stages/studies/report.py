"""Table, finding and picture of a study."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stages.config.claims import Claims
from stages.config.mixture import MixtureParams
from stages.core.errors import UserError
from stages.metrics.summary import over_seeds
from stages.mog.problem import setup
from stages.pipeline import files
from stages.pipeline.descriptions import describe
from stages.plots import studies
from stages.plots.canvas import write_png
from stages.plots.colours import method_colour, shades
from stages.plots.comparison import DASHES
from stages.plots.landscape import Grid
from stages.plots.studies import Map, Series
from stages.results import claim_cells, verdict_matrix
from stages.results.metric_names import name as metric_name
from stages.results.tables import cell as shown
from stages.results.tables import table
from stages.results.verdicts import decide_all
from stages.studies import finding
from stages.studies.grid import MOST_PANELS, REPORTS, Study, presets, varied

MAP_NODES = 120
"""Nodes along each side of the map of a mixture."""
OUTDATED = " (some runs are outdated)"
"""What the title of a picture says of outdated runs."""
FLAGS = {True: "✓", False: "✗"}
"""Marks of a flag in a table of settings."""


def with_verdicts(study: Study, found: Sequence[dict[str, Any]], claims: Claims) -> list[dict[str, Any]]:
    """The cells with the verdicts on all `claims` about their methods, if the study decides claims; needs no training."""
    if not study.claims:
        return list(found)
    others = {claimed: files.read_json(REPORTS / f"{name}.json")["cells"] for claimed, name in study.studies.items()}
    return [{**cell, "claims": decide_all(cell["method"], claims, cell["metrics"], others)} for cell in found]


def markdown(
    name: str,
    study: Study,
    found: Sequence[Mapping[str, Any]],
    standing: str,
    *,
    notices: Sequence[str] = (),
    complete: bool = True,
) -> str:
    """The finding, notices, metrics with one row per cell, verdicts if claims were decided, and provenance.

    Args:
        name: of the study.
        study: its declaration.
        found: its cells.
        standing: the provenance of its runs.
        notices: sentences about missing and outdated runs.
        complete: whether all runs are stored; else the report states no finding.
    """
    keys = [key for key in study.keep if any(key in cell for cell in found)]
    headings = [metric_name(key).with_arrow for key in keys]
    text = "\n\n".join([headline(name, study, found) if complete else f"Incomplete study {name}", *notices]) + "\n\n"
    text += table(["setting", *headings], ([_label(cell, study), *(shown(cell.get(key)) for key in keys)] for cell in found))
    if study.claims:
        names = list(dict.fromkeys(name for cell in found for name in cell["claims"]))
        decided = [[cell["claims"].get(name) for name in names] for cell in found]
        marks = [["–" if claim is None else claim_cells.in_short(claim) for claim in claims] for claims in decided]
        rows = ([_label(cell, study), *cells] for cell, cells in zip(found, marks, strict=True))
        text += "\n" + table(["setting", *(name.replace("_", " ") for name in names)], rows)
    return f"{text}\n{standing[0].upper()}{standing[1:]}\n" if found else text


def headline(name: str, study: Study, found: Sequence[Mapping[str, Any]]) -> str:
    """The finding if the cells show it, else that they do not; the study's name if it has no finding."""
    if not study.finding:
        return f"Study {name}"
    return study.finding if finding.shown(study, found) else f"{finding.NOT_SHOWN}{study.finding}"


def draw(
    name: str, study: Study, found: list[dict[str, Any]], mixture: MixtureParams | None = None, *, outdated: bool = False
) -> Figure:
    """The study as a picture: verdicts if it decides claims, lines over a varied numeric param, else one row per cell.

    Args:
        name: of the study.
        study: its declaration.
        found: its cells.
        mixture: the mixture of all cells, drawn beside the metrics; None if it is the pipeline's.
        outdated: whether runs that it shows are outdated, which the title says.
    """
    title = headline(name, study, found) + outdated * OUTDATED
    if study.claims:
        return verdict_matrix.matrix(((cell["method"], claim) for cell in found for claim in cell["claims"].values()), title)
    keys = [key for key in study.panels or study.keep if any(_measured(cell.get(key)) for cell in found)][:MOST_PANELS]
    if not keys:
        raise UserError(f"study {name}: no cell has a number for any of {', '.join(study.panels or study.keep)}")
    panels = {key: metric_name(key).with_arrow for key in keys}
    beside = _map(mixture, study) if mixture else None
    axis = _axis(study)
    if not axis:
        rows = [
            Series(
                label=_label(cell, study),
                colour=method_colour(cell["method"]),
                measured={title: [_measured(cell.get(key))] for key, title in panels.items()},
            )
            for cell in found
        ]
        return studies.bars(rows, list(panels.values()), title, _settings(study, found), beside)
    lines = []
    for method in study.methods:
        groups: dict[str, list[dict[str, Any]]] = {}
        for cell in found:
            if cell["method"] == method:
                groups.setdefault(_label(cell, study, without=axis[0]), []).append(cell)
        tints = shades(method_colour(method), len(groups))
        for number, (label, along) in enumerate(groups.items()):
            measured = {title: [_measured(cell.get(key)) for cell in along] for key, title in panels.items()}
            lines.append(Series(label=label, colour=tints[number], dash=DASHES[number % len(DASHES)], measured=measured))
    return studies.lines(axis[1], lines, list(panels.values()), _words(axis[0], study), title, beside)


def write_described(path: Path, figure: Figure, description: str) -> None:
    """Write a picture as PNG with this text as its description; none if it is empty."""
    write_png(path, figure)
    if description:
        text, content = PngInfo(), io.BytesIO()
        text.add_text("Description", description)
        with Image.open(path) as image:
            image.save(content, format="png", optimize=True, pnginfo=text)
        files.write_bytes(path, content.getvalue())


def description(path: Path) -> str:
    """The description of a PNG; empty if it has none.

    Raises:
        OSError: there is no such file, or it is damaged.
    """
    with Image.open(path) as image:
        return str(image.info.get("Description", ""))


def _measured(value: Any) -> Mapping[str, Any] | None:
    """A metric as the mean of its values; a plain number has no spread, and anything else cannot be drawn."""
    if isinstance(value, Mapping):
        return value
    return None if value is None or isinstance(value, bool) else over_seeds(value)


def _map(mixture: MixtureParams, study: Study) -> Map:
    grid_x, grid_y = setup.grid_axes(mixture, MAP_NODES)
    density = setup.mixture(mixture).log_density(np.stack(np.meshgrid(grid_x, grid_y), -1))
    return Map(title=f"the mixture “{presets(study)[0]}”", grid=Grid(x=grid_x, y=grid_y), log_density=density)


def _settings(study: Study, found: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The varied params as columns, one entry per cell, if cells differ in several of them; flags as ✓ and ✗."""
    keys = [key for key, values in varied(study).items() if len(values) > 1]
    if len(keys) < 2 or len(study.methods) > 1:
        return {}
    values = {key: [cell["settings"][key.format(method=cell["method"])] for cell in found] for key in keys}
    return {_words(key, study): [FLAGS.get(v, f"{v}") if isinstance(v, bool) else f"{v}" for v in values[key]] for key in keys}


def _words(key: str, study: Study) -> str:
    """A param in words."""
    return study.labels.get(key) or key.split(".")[-1].replace("_", " ")


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
    if study.cases:
        changed = ", ".join(f"{key}={value}" for key, value in cell["settings"].items())
        return f"{describe(cell['method']).short}, {changed}"
    names = [key for key, values in varied(study).items() if len(values) > 1 and key != without]
    if without in study.together:
        names = []
    settings = ((key, cell["settings"][key.format(method=cell["method"])]) for key in names)
    parts = [_setting(_words(key, study), value) for key, value in settings]
    title = describe(cell["method"]).short
    return ", ".join(([title] if len(study.methods) > 1 or not parts else []) + parts)


def _setting(words: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {words}"
    return f"{words} {value}"
