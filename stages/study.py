"""Studies: results that need many settings, outside the DAG.

`python -m stages.study NAME` runs every cell of a study of studies.yaml in a folder of its own. It writes
reports/studies/NAME.json with `command`, `digest` (of the code and the params of every cell), the `blocks` of the methods'
params, and `cells`, each with its `method`, its `settings`, the figures that the study keeps and, where it decides claims, all
`metrics` of its first run. On the mixture there is its `preset`, empty where cells differ in it; on the images, where each
method has one cell, its figures stand under the method's name too. It also writes reports/studies/NAME.md, the same as a
table, with the verdicts on the claims, and reports/figures/studies/NAME.png.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from stages import files, runtime
from stages import params as parameters
from stages.cells import PARTS, REPORTS, Study, block, cells, digest, folder, load, preset, runs, varied, with_settings
from stages.errors import UserError
from stages.imports import ROOT
from stages.lookup import look_up
from stages.metrics.measured import figure
from stages.params import Params
from stages.plots.canvas import write_png
from stages.study_report import draw, markdown, with_verdicts

SHARED = ("data", "perturb", "baseline")
"""The stages of a cell that are not about one method."""
MEASURED = {
    "mog": "reports/metrics/mog/{method}.json",
    "mnist": "reports/measured/mnist/{method}.json",
    "mnist_reconstruct": "reports/measured/mnist/{method}.reconstruction.json",
}
"""Where a cell's figures are then found."""


def run_cell(study: Study, method: str, settings: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Train and measure one cell in a folder of its own, by the pipeline's own stages; once for each of the study's seeds.

    Raises:
        UserError: a stage failed; the message is its own.
    """
    return assemble(study, method, settings, [_measure(study, method, one, raw) for one in runs(study, settings)])


def assemble(study: Study, method: str, settings: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is kept of a cell with the metrics of its runs."""
    figures = {key: over_runs([look_up(one, key) for one in metrics]) for key in study.keep}
    cell = {"method": method, "settings": dict(settings), **{k: v for k, v in figures.items() if v is not None}}
    if study.claims:
        cell["metrics"] = metrics[0]
    return cell


def _measure(study: Study, method: str, settings: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of one run of the stages with these settings."""
    alone = {"mnist.methods": [method], "mnist_reconstruct.methods": [method]} if study.images else {}
    params = with_settings(raw, {**settings, **alone})
    with tempfile.TemporaryDirectory() as place:
        Path(place, "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        if study.images:
            _bring_images(params, Path(place))
        for part in PARTS[study.world]:
            command = [sys.executable, "-m", f"stages.{folder(study)}.{part}", *([] if part in SHARED else [method])]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": ""}
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"{method} with {dict(settings)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return files.read_json(Path(place, MEASURED[study.world].format(method=method)))


def _bring_images(params: Mapping[str, Any], place: Path) -> None:
    """Make the local folders that the images may come from visible where a cell is run."""
    for source in params["mnist"]["datasets"][params["mnist"]["dataset"]]["sources"]:
        here, there = Path(source["location"]), place / source["location"]
        if source["kind"] == "folder" and here.is_dir() and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here.absolute())


def over_runs(figures: Sequence[Any]) -> Any:
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
    there: dict[str, Any] = {}
    # Where it is missing or damaged all cells are run.
    with suppress(UserError):
        there = files.read_json(path)
    before = there["cells"] if there.get("digest") == made else []
    wanted = list(cells(study))
    found: list[dict[str, Any]] = []
    for number, (method, settings) in enumerate(wanted, 1):
        done = [cell for cell in before if (cell["method"], cell["settings"]) == (method, settings)]
        if not done:
            print(f"{name}: cell {number} of {len(wanted)}, {method} with {settings}", flush=True)
        found.append(done[0] if done else run_cell(study, method, settings, raw))
        if len(before) < len(wanted):
            files.write_json(path, content(name, study, raw, made, found))
    report(name, study, found, params)


def report(name: str, study: Study, found: Sequence[dict[str, Any]], params: Params) -> None:
    """Write the table of a study and draw it."""
    decided = with_verdicts(study, found, params.claims)
    files.write_text(REPORTS / f"{name}.md", markdown(name, study, decided))
    write_png(Path(f"reports/figures/studies/{name}.png"), draw(name, study, decided))


def content(name: str, study: Study, raw: Mapping[str, Any], made: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of a study."""
    blocks = {method: raw[block(study, method)] for method in study.methods}
    world = {} if study.images else {"preset": preset(study, raw)}
    # Where a method has one cell, its figures stand under its name too, nested as in the metrics of the pipeline.
    single = {cell["method"]: _nested(study, cell) for cell in found} if study.images and not varied(study) else {}
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


if __name__ == "__main__":
    runtime.run(main)
