"""Studies: results that need many settings, outside the DAG.

`python -m stages.study NAME` runs every cell of a study of studies.yaml in a folder of its own. It writes
reports/studies/NAME.json with `command`, `digest` (of the code and the params of every cell), and `cells`, each with its
`method`, its `settings` and the figures that the study keeps; and reports/figures/studies/NAME.png.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from matplotlib.figure import Figure
from pydantic import Field, ValidationError

from stages import params as parameters
from stages import runtime
from stages.errors import UserError
from stages.lookup import look_up
from stages.params import Block, Params
from stages.plots import studies
from stages.plots.canvas import write_png

FILE = Path("studies.yaml")
REPORTS = Path("reports/studies")
ROOT = Path(__file__).parent.parent
CODE = ("*.py", "mog/*.py", "nn/*.py", "metrics/*.py")
"""What the cells' stages are made of, besides the method."""
OUTSIDE = {
    *("figures.py", "lessons.py", "claims.py", "compare.py", "lookup.py", "readme.py"),
    *("store.py", "study.py", "track.py", "ui.py", "verify.py"),
}
"""What they are not made of."""


class Study(Block):
    """One study: its methods, the params that are varied, the figures that are kept."""

    methods: Annotated[list[str], Field(min_length=1)]
    grid: Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], Field(min_length=1)]
    keep: Annotated[list[str], Field(min_length=1)]


def load(name: str, path: Path = FILE) -> Study:
    """The study of that name.

    Raises:
        UserError: there is none, or it is not written as a study is.
    """
    studies = yaml.safe_load(path.read_text(encoding="utf-8"))
    if name not in studies:
        raise UserError(f"{name!r} is no study of {path}: expected one of {', '.join(studies)}")
    try:
        return Study.model_validate(studies[name])
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{path}: {name}.{place}: {error.errors()[0]['msg']}") from None


def cells(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method with every combination of the varied params."""
    for method in study.methods:
        for values in itertools.product(*study.grid.values()):
            yield method, dict(zip(study.grid, values, strict=True))


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
    """The sha256 of what decides a study's figures: the code of its stages and the params of its cells."""
    stages = ROOT / "stages"
    files = {file for pattern in CODE for file in stages.glob(pattern) if file.name not in OUTSIDE}
    files |= {stages / "methods" / f"{method}.py" for method in study.methods}
    code = {str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}
    shared = ("seed", "seeds", "threads", "collapse", "mog", "langevin", "annealed")
    params = []
    for method, settings in cells(study):
        cell = with_settings(raw, settings)
        params.append({key: cell[key] for key in (*shared, method)})
    return hashlib.sha256(json.dumps([code, params], sort_keys=True).encode()).hexdigest()


def run_cell(method: str, settings: Mapping[str, Any], keep: list[str], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Train and measure one cell in a folder of its own, by the pipeline's own stages.

    Raises:
        UserError: a stage failed; the message is its own.
    """
    with tempfile.TemporaryDirectory() as folder:
        text = yaml.safe_dump(with_settings(raw, settings), sort_keys=False)
        Path(folder, "params.yaml").write_text(text, encoding="utf-8")
        for stage in (["data"], ["perturb"], ["train", method], ["evaluate", method]):
            command = [sys.executable, "-m", f"stages.mog.{stage[0]}", *stage[1:]]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": ""}
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"{method} with {dict(settings)}: {done.stderr.strip().splitlines()[-1]}")
        metrics = runtime.read_json(Path(folder, f"reports/metrics/mog/{method}.json"))
    figures = {key: look_up(metrics, key) for key in keep}
    return {"method": method, "settings": dict(settings), **{k: v for k, v in figures.items() if v is not None}}


def raw_params() -> dict[str, Any]:
    """params.yaml as it is written."""
    return parameters._read(parameters.FILE)


def main(params: Params, name: str) -> None:
    """Run all cells of the study called `name`."""
    study, raw = load(name), raw_params()
    found = []
    for number, (method, settings) in enumerate(cells(study), 1):
        print(f"{name}: cell {number}, {method} with {settings}", flush=True)
        found.append(run_cell(method, settings, study.keep, raw))
    runtime.write_json(
        REPORTS / f"{name}.json",
        {"command": f"python -m stages.study {name}", "digest": digest(study, raw), "cells": found},
    )
    write_png(Path(f"reports/figures/studies/{name}.png"), draw(name, study, found))


def draw(name: str, study: Study, found: list[dict[str, Any]]) -> Figure:
    """The study as a picture: lines over one varied number, else one bar per cell."""
    (first, *others) = study.grid
    numbers = [value for value in study.grid[first] if isinstance(value, (int, float)) and not isinstance(value, bool)]
    keys = [key for key in study.keep if any(key in cell for cell in found)]
    if not others and len(numbers) > 1 and len(study.methods) == 1:
        figures = {key: [cell[key] for cell in found] for key in keys}
        return studies.lines(numbers, figures, first, f"study {name}: {study.methods[0]}")
    labels = [_label(cell, study) for cell in found]
    return studies.bars(labels, {key: [cell.get(key) for cell in found] for key in keys}, f"study {name}")


def _label(cell: Mapping[str, Any], study: Study) -> str:
    varied = [f"{key.split('.')[-1].replace('_', ' ')} {cell['settings'][key]}" for key, v in study.grid.items() if len(v) > 1]
    return ", ".join(([cell["method"]] if len(study.methods) > 1 else []) + varied)


if __name__ == "__main__":
    runtime.run(main)
