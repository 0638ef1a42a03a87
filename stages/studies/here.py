"""Runs of a study on this machine: the pipeline's own stages, each run in a folder of its own."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import yaml

from stages.core.errors import UserError
from stages.core.paths import MIXTURES, ROOT
from stages.pipeline import files
from stages.pipeline.concurrent import CORES, cores
from stages.studies.engine import Metrics, Place, Project, Result
from stages.studies.grid import Run, with_settings
from stages.studies.identity import commands, look_again
from stages.tools import warm

MEASURED = {
    "mog": "reports/metrics/mog/{method}.json",
    "mnist": "reports/measured/mnist/{method}.json",
    "mnist_reconstruct": "reports/measured/mnist/{method}.reconstruction.json",
}
"""Where the metrics of a run are found."""
ALONE = {"mog": ("methods",), "mnist": ("mnist.methods", "mnist_reconstruct.methods")}
"""The lists of methods of each folder of stages: a run has its own method and no other."""


def alone(run: Run) -> dict[str, list[str]]:
    """The params that leave a run's method alone in its folder of stages."""
    return {key: [run.method] for key in ALONE[run.folder]}


def place(project: Project, jobs: int | None = None) -> Place:
    """Runs on this machine: of the mixture as many at a time as there are cores, of the images one, or as many as are asked."""

    def run_all(wanted: Sequence[Run]) -> Iterator[Result]:
        images = any(run.domain != "mog" for run in wanted)
        count = max(1, min(jobs or (1 if images else cores()), len(wanted)))
        failed: list[UserError] = []
        running: set[warm.Running] = set()
        look_again()
        known = {run.key: project.decided(run) for run in wanted}
        with ThreadPoolExecutor(count) as pool:
            waiting = {pool.submit(measure, run, project, cores() // count or 1, running): run for run in wanted}
            try:
                while waiting:
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for one in done:
                        run = waiting.pop(one)
                        try:
                            found = one.result()
                        except UserError as error:
                            failed.append(error)
                            # What has begun is finished and kept.
                            waiting = {future: run for future, run in waiting.items() if not future.cancel()}
                        else:
                            look_again()
                            if project.decided(run) != known[run.key]:
                                raise UserError(f"{run}: its code was edited while it was made: it is not kept")
                            yield Result(run, found)
            except BaseException:
                for future in waiting:
                    future.cancel()
                for process in list(running):
                    warm.send(process, signal.SIGTERM)
                raise
        if failed:
            raise failed[0]

    return run_all


def measure(run: Run, project: Project, share: int | None = None, running: set[warm.Running] | None = None) -> Metrics:
    """The metrics of one run.

    Args:
        run: what is run.
        project: whose params it differs from.
        share: how many cores its stages may use.
        running: has the process of its stage while that runs, for whoever has to stop it.

    Raises:
        UserError: a stage failed; the message is its own.
    """
    params = with_settings(project.raw, {**run.settings, **alone(run)})
    running = set() if running is None else running
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        there = Path(folder)
        (there / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        (there / MIXTURES).write_text(yaml.safe_dump(project.mixtures, sort_keys=False), encoding="utf-8")
        if run.domain != "mog":
            _bring_images(params, there)
        found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment = {**os.environ, "PATH": found, "PYTHONPATH": str(ROOT), "DVC_STAGE": ""}
        if share:
            environment[CORES] = str(share)
        for command in commands(run.domain, run.method):
            process = warm.start(command, "/bin/sh", environment, there)
            running.add(process)
            try:
                said = [line for line in process.lines() if line.strip()]
                status = process.wait()
            finally:
                running.discard(process)
            if status:
                raise UserError(f"{run}: {said[-1].strip() if said else 'no message'}")
        return files.read_json(there / MEASURED[run.domain].format(method=run.method))


def _bring_images(params: Mapping[str, Any], there: Path) -> None:
    """Make the local folders that the images may come from visible where a run is made."""
    for source in params["mnist"]["datasets"][params["mnist"]["dataset"]]["sources"]:
        location, link = Path(source["location"]), there / source["location"]
        if source["kind"] == "folder" and location.is_dir() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(location.absolute())
