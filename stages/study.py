"""Studies: results that need many settings, outside the DAG.

`python -m stages.study NAME` runs every cell of a study of studies.yaml in a folder of its own. It writes
reports/studies/NAME.json with `command`, `digest` (of the code and the params of every cell), and `cells`, each with its
`method`, its `settings`, the figures that the study keeps and, where it asks for them, the verdicts on all `claims`;
reports/studies/NAME.md, the same as a table; and reports/figures/studies/NAME.png.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from matplotlib.figure import Figure
from pydantic import Field, ValidationError

from stages import params as parameters
from stages import runtime
from stages.errors import UserError
from stages.imports import ROOT, closure
from stages.lookup import look_up
from stages.metrics.measured import figure
from stages.params import Params
from stages.plots import studies
from stages.plots.canvas import write_png
from stages.schema import MNIST_PREFIX, Block, Claims
from stages.tables import cell as shown
from stages.tables import table
from stages.verdicts import decide_all

FILE = Path("studies.yaml")
REPORTS = Path("reports/studies")
PARTS = {
    "mog": ("data", "perturb", "train", "evaluate"),
    "mnist": ("data", "perturb", "baseline", "train", "evaluate"),
    "mnist_reconstruct": ("data", "perturb", "baseline", "train", "reconstruct", "reconstruct_evaluate"),
}
"""The stages that every cell runs: of the mixture, of phase 1 on the images, and of both phases."""
SHARED = ("data", "perturb", "baseline")
"""Those of them that are not about one method."""
MEASURED = {
    "mog": "reports/metrics/mog/{method}.json",
    "mnist": "reports/measured/mnist/{method}.json",
    "mnist_reconstruct": "reports/measured/mnist/{method}.reconstruction.json",
}
"""Where a cell's figures are then found."""
IMAGES = ("seed", "threads", "collapse", "mnist", "mnist_perturbations", "mnist_severity")
DECISIVE = {
    "mog": ("seed", "seeds", "threads", "collapse", "mog", "langevin", "annealed"),
    "mnist": IMAGES,
    "mnist_reconstruct": (*IMAGES, "mnist_reconstruct"),
}
"""The params, beside the method's own, that decide the figures of a world."""
CHECKING = {ROOT / "stages" / name for name in ("errors.py", "params.py", "schema.py", "vocabulary.py")}


class Study(Block):
    """One study: its methods, the params that are varied, the figures that are kept, whether claims are decided.

    Every combination of the `grid` is a cell; params of `together` change in step, by their place in the list. `settings` hold
    in all cells. Where there are `runs`, each cell is run with each of these seeds and its figures are over them. `{method}`
    in the name of a param stands for the method of the cell. `studies` says which study takes the place of one that claims
    name; claims are of the world `mog` alone.
    """

    world: Literal["mog", "mnist", "mnist_reconstruct"] = "mog"
    methods: Annotated[list[str], Field(min_length=1)]
    settings: dict[str, Any] = Field(default_factory=dict)
    runs: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    together: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    keep: Annotated[list[str], Field(min_length=1)]
    claims: bool = False
    studies: dict[str, str] = Field(default_factory=dict)

    @property
    def images(self) -> bool:
        """Whether the study is about the images."""
        return self.world != "mog"


def load(name: str, path: Path = FILE) -> Study:
    """The study of that name.

    Raises:
        UserError: there is none, or it is not written as a study is.
    """
    studies = yaml.safe_load(path.read_text(encoding="utf-8"))
    if name not in studies:
        raise UserError(f"{name!r} is no study of {path}: expected one of {', '.join(sorted(studies))}")
    try:
        return Study.model_validate(studies[name])
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{path}: {name}.{place}: {error.errors()[0]['msg']}") from None


def cells(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method with every combination of the varied params, and with what is set in all cells."""
    steps = list(zip(*study.together.values(), strict=True)) or [()]
    for method in study.methods:
        names = [key.format(method=method) for key in (*study.grid, *study.together)]
        fixed = {key.format(method=method): value for key, value in study.settings.items()}
        for values in itertools.product(*study.grid.values(), steps):
            yield method, fixed | dict(zip(names, (*values[:-1], *values[-1]), strict=True))


def with_settings(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of params.yaml with dotted keys set.

    Raises:
        UserError: there is no such key.
    """
    changed: dict[str, Any] = json.loads(json.dumps(raw))
    for key, value in settings.items():
        *groups, last = key.split(".")
        block = changed
        for group in groups:
            block = block.get(group, {})
        if last not in block:
            raise UserError(f"{FILE}: there is no param {key}")
        block[last] = value
    return changed


def digest(study: Study, raw: Mapping[str, Any]) -> str:
    """The sha256 of what decides what is written of a study: the code of its stages, the params of its cells, what is kept.

    Code that only checks params does not count: they reach the stages as they are written.
    """
    starts = [ROOT / f"stages/{_folder(study)}/{part}.py" for part in PARTS[study.world]]
    starts += [ROOT / f"stages/methods/{method}.py" for method in study.methods]
    files = set[Path]().union(*(closure(start) for start in starts)) - CHECKING
    code = {str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}
    params = []
    for method, settings in cells(study):
        cell = with_settings(raw, settings)
        params.append({key: cell[key] for key in (*DECISIVE[study.world], _block(study, method))})
    content = [code, params, study.keep, study.claims, *([study.runs] if study.runs else [])]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _folder(study: Study) -> str:
    """Where the stages of the study's world lie."""
    return "mnist" if study.images else "mog"


def _block(study: Study, method: str) -> str:
    """The params block of a method in the study's world."""
    return MNIST_PREFIX + method if study.images else method


def run_cell(study: Study, method: str, settings: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Train and measure one cell in a folder of its own, by the pipeline's own stages; once for each of the study's seeds.

    Raises:
        UserError: a stage failed; the message is its own.
    """
    each = [{**settings, "seed": seed} for seed in study.runs] or [dict(settings)]
    metrics = [_measure(study, method, one, raw) for one in each]
    figures = {key: _over_runs([look_up(one, key) for one in metrics]) for key in study.keep}
    cell = {"method": method, "settings": dict(settings), **{k: v for k, v in figures.items() if v is not None}}
    if study.claims:
        cell["metrics"] = metrics[0]
    return cell


def _measure(study: Study, method: str, settings: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of one run of the stages with these settings."""
    alone = {"mnist.methods": [method], "mnist_reconstruct.methods": [method]} if study.images else {}
    params = with_settings(raw, {**settings, **alone})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        for part in PARTS[study.world]:
            command = [sys.executable, "-m", f"stages.{_folder(study)}.{part}", *([] if part in SHARED else [method])]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": ""}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"{method} with {dict(settings)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return runtime.read_json(Path(folder, MEASURED[study.world].format(method=method)))


def _over_runs(figures: Sequence[Any]) -> Any:
    """One figure over several runs; what is no measured figure is that of the first."""
    if len(figures) == 1 or not all(isinstance(one, Mapping) for one in figures):
        return figures[0]
    return figure([one["mean"] for one in figures])


def main(params: Params, name: str) -> None:
    """Run the cells of the study called `name` that are not there yet; then write its table and draw it.

    Every cell is written when it is done: a study that was stopped goes on where it was.
    """
    study, raw, path = load(name), parameters.read(), REPORTS / f"{name}.json"
    made = digest(study, raw)
    there = runtime.read_json(path) if path.exists() else {}
    before = there["cells"] if there.get("digest") == made else []
    wanted = list(cells(study))
    found: list[dict[str, Any]] = []
    for number, (method, settings) in enumerate(wanted, 1):
        done = [cell for cell in before if (cell["method"], cell["settings"]) == (method, settings)]
        if not done:
            print(f"{name}: cell {number} of {len(wanted)}, {method} with {settings}", flush=True)
        found.append(done[0] if done else run_cell(study, method, settings, raw))
        if len(before) < len(wanted):
            runtime.write_json(path, _content(name, study, raw, made, found))
    decided = with_verdicts(study, found, params.claims)
    runtime.write_text(REPORTS / f"{name}.md", markdown(name, study, decided))
    write_png(Path(f"reports/figures/studies/{name}.png"), draw(name, study, decided))


def _content(name: str, study: Study, raw: Mapping[str, Any], made: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a study."""
    blocks = {method: raw[_block(study, method)] for method in study.methods}
    world = {} if study.images else {"preset": preset(study, raw)}
    # Where a method has one cell, its figures stand under its name too, nested as in the metrics of the pipeline.
    single = {cell["method"]: _nested(study, cell) for cell in found} if study.images and not _varied(study) else {}
    return {"command": f"python -m stages.study {name}", "digest": made, **world, "blocks": blocks, "cells": found, **single}


def _nested(study: Study, cell: Mapping[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for key in study.keep:
        *groups, last = key.split(".")
        block = figures
        for group in groups:
            block = block.setdefault(group, {})
        block[last] = cell.get(key)
    return figures


def preset(study: Study, raw: Mapping[str, Any]) -> str:
    """The mixture that all cells are of, or nothing where they differ in it."""
    presets = study.grid.get("mog.preset", [raw["mog"]["preset"]])
    return str(presets[0]) if len(presets) == 1 else ""


def with_verdicts(study: Study, found: Sequence[dict[str, Any]], claims: Claims) -> list[dict[str, Any]]:
    """The cells with the verdicts on all `claims` about them, where the study decides them; they take no training."""
    if not study.claims:
        return list(found)
    others = {claimed: runtime.read_json(REPORTS / f"{name}.json")["cells"] for claimed, name in study.studies.items()}
    return [{**cell, "claims": decide_all(cell["method"], claims, cell["metrics"], others)} for cell in found]


def markdown(name: str, study: Study, found: Sequence[Mapping[str, Any]]) -> str:
    """A caption, and the study as a table, one row per cell; below it, where claims were decided, their verdicts."""
    keys = [key for key in study.keep if any(key in cell for cell in found)]
    text = caption(name, study, found) + "\n\n"
    text += table(["cell", *keys], ([_label(cell, study), *(shown(cell.get(key)) for key in keys)] for cell in found))
    if study.claims:
        names = list(dict.fromkeys(name for cell in found for name in cell["claims"]))
        rows = ([_label(cell, study), *(_verdict(cell["claims"].get(name)) for name in names)] for cell in found)
        text += "\n" + table(["cell", *(name.replace("_", " ") for name in names)], rows)
    return text


def caption(name: str, study: Study, found: Sequence[Mapping[str, Any]]) -> str:
    """From where to where each figure goes, and in which cells."""
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
    wrong = f" What is said fails for {', '.join(fails)}." if fails else ""
    return f"*Study {name}.* {'; '.join(parts) or 'Nothing differs between its cells'}.{wrong}"


def _mean(figure: Any) -> float:
    return float(figure["mean"] if isinstance(figure, Mapping) else figure)


def _verdict(claim: Mapping[str, Any] | None) -> str:
    return f"{claim['claimed']}: {claim['verdict']}" if claim else "–"


def draw(name: str, study: Study, found: list[dict[str, Any]]) -> Figure:
    """The study as a picture: lines over one varied number, verdicts where it decides claims, else one bar per cell."""
    keys = [key for key in study.keep if any(key in cell for cell in found)]
    if study.claims:
        verdicts = {_label(cell, study): {k: claim["verdict"] for k, claim in cell["claims"].items()} for cell in found}
        lifts = {key: [cell.get(key) for cell in found] for key in keys if "lift" in key}
        return studies.verdicts(verdicts, lifts, f"study {name}: {', '.join(f'{k} {v[0]}' for k, v in study.grid.items())}")
    axis = _axis(study)
    if axis:
        figures = {k: {m: [c.get(k) for c in found if c["method"] == m] for m in study.methods} for k in keys}
        return studies.lines(axis[1], figures, axis[0].format(method="METHOD"), f"study {name}")
    labels = [_label(cell, study) for cell in found]
    return studies.bars(labels, {key: [cell.get(key) for cell in found] for key in keys}, f"study {name}")


def _axis(study: Study) -> tuple[str, list[float]] | None:
    """The one number that is varied: of those that change together the first; None where there is no such."""
    varied = [(key, values) for key, values in study.grid.items() if len(values) > 1]
    together = list(study.together.items())
    if len(varied) + bool(together) != 1:
        return None
    key, values = (varied or together)[0]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return (key, values) if numbers and len(set(values)) == len(values) else None


def _varied(study: Study) -> dict[str, list[Any]]:
    """The params by which cells are told apart."""
    return {**study.grid, **study.together}


def _label(cell: Mapping[str, Any], study: Study) -> str:
    settings = ((key, cell["settings"][key.format(method=cell["method"])]) for key, v in _varied(study).items() if len(v) > 1)
    varied = [f"{key.split('.')[-1].replace('_', ' ')} {value}" for key, value in settings]
    return ", ".join(([cell["method"]] if len(study.methods) > 1 or not varied else []) + varied)


if __name__ == "__main__":
    runtime.run(main)
