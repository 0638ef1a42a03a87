"""Runs of a study on this machine: the stages of the pipeline, in a temporary folder per run."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from stages.config.images import LOCAL_KINDS
from stages.core.errors import UserError
from stages.core.paths import MIXTURES, ROOT
from stages.pipeline import artifacts, files
from stages.pipeline.concurrent import CORES, cores
from stages.pixels.problem.paths import metrics as pixels_metrics
from stages.studies.engine import Backend, Metrics, Project, Result
from stages.studies.grid import Run, with_settings
from stages.studies.identity import clear_caches, commands
from stages.tools import warm

MEASURED: dict[str, Callable[[str], Path]] = {
    "mog": partial(artifacts.metrics, "mog"),
    "mnist": artifacts.measured,
    "mnist_reconstruct": lambda method: artifacts.measured(f"{method}.reconstruction"),
    "pixels": pixels_metrics,
}
"""The metrics file of a run, from the method's name, by domain."""
METHOD_LISTS = {"mog": ("methods",), "mnist": ("mnist.methods", "mnist_reconstruct.methods"), "pixels": ("pixels.methods",)}
"""Params that list methods, by part of the pipeline: a run sets each to its own method."""


def only_method(run: Run) -> dict[str, list[str]]:
    """Params that restrict the part of the pipeline to the method of a run."""
    return {key: [run.method] for key in METHOD_LISTS[run.folder]}


def backend(project: Project, jobs: int | None = None) -> Backend:
    """A backend that runs on this machine.

    Args:
        project: provides the params that the runs modify.
        jobs: runs at a time; by default one per core on the mixture and, on the images, as many as the cores have threads for.
    """

    def run_all(wanted: Sequence[Run]) -> Iterator[Result]:
        count = max(1, min(jobs or min((_at_a_time(run, project) for run in wanted), default=1), len(wanted)))
        failed: list[UserError] = []
        running: set[warm.Running] = set()
        clear_caches()
        known = {run.key: project.digests(run) for run in wanted}
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
                            # Runs that have started are finished and stored.
                            waiting = {future: run for future, run in waiting.items() if not future.cancel()}
                        else:
                            clear_caches()
                            if project.digests(run) != known[run.key]:
                                raise UserError(f"{run}: the code was edited during the run: its result is discarded")
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


def _at_a_time(run: Run, project: Project) -> int:
    """How many runs like this one this machine computes at a time: on the images a run has `threads` threads."""
    return cores() if run.domain == "mog" else cores() // with_settings(project.raw, run.settings)["threads"]


def measure(run: Run, project: Project, share: int | None = None, running: set[warm.Running] | None = None) -> Metrics:
    """Execute one run and return its metrics.

    Args:
        run: the run.
        project: provides the params that the run modifies.
        share: number of cores that its stages may use.
        running: contains the process of the current stage, so that the caller can stop it.

    Raises:
        UserError: a stage failed; the message is that of the stage.
    """
    params = with_settings(project.raw, {**run.settings, **only_method(run)})
    running = set() if running is None else running
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        there = Path(folder)
        (there / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
        (there / MIXTURES).write_text(yaml.safe_dump(project.mixtures, sort_keys=False), encoding="utf-8")
        if run.domain != "mog":
            _link_images(params, there)
        found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment = {**os.environ, "PATH": found, "PYTHONPATH": str(ROOT), "DVC_STAGE": ""}
        if share:
            environment[CORES] = str(share)
        for command in commands(run.domain, run.method, params):
            process = warm.start(command, "/bin/sh", environment, there)
            running.add(process)
            try:
                printed = [line for line in process.lines() if line.strip()]
                status = process.wait()
            finally:
                running.discard(process)
            if status:
                silent = f"`{command}` ended with status {status} and without a message"
                raise UserError(f"{run}: {printed[-1].strip() if printed else silent}")
        return files.read_json(there / MEASURED[run.domain](run.method))


def _link_images(params: Mapping[str, Any], there: Path) -> None:
    """Link the local files and folders of images, whose locations are relative, and their digests into the folder of a run."""
    name = params["mnist"]["dataset"]
    sources = params["mnist"]["datasets"][name]["sources"]
    local = [Path(source["location"]) for source in sources if source["kind"] in LOCAL_KINDS]
    for location in (*local, artifacts.digests(name)):
        link = there / location
        if location.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(location.absolute())
