"""Runs of a study as DVC experiments: their names and params, how they come home, and DVC's queue.

`dvc exp show` has them. An experiment is the whole pipeline with the params of one run; what the run leaves as the committed
pipeline has it comes out of the cache. Its name follows from its params, so a study that was stopped and is started again finds
the experiments that are there.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.core.command import output
from stages.core.errors import UserError
from stages.dag import machine
from stages.pipeline import digests
from stages.studies.engine import Metrics, Place, Result
from stages.studies.grid import Run
from stages.studies.here import MEASURED, alone

IDLE = {"mog": {}, "mnist": {"methods": ["dsm"]}}
"""What an experiment is spared of the other one, which the pipeline has too."""
WRITTEN = ("reports/studies", "reports/figures/studies")
"""What studies write, which no experiment reads before it is committed."""
LOOK = 2
"""Seconds between two looks at the queue."""
PATIENCE = 15
"""For how many looks the queue may have no worker."""


def wanted(run: Run) -> dict[str, Any]:
    """The params in which the experiment of a run differs from params.yaml."""
    return {**run.settings, **IDLE[run.folder], **alone(run)}


def experiment(study: str, run: Run) -> str:
    """The name of the experiment of a run."""
    label = digests.of_content([run.method, wanted(run)])[:8]
    return f"{study.replace('_', '-')}-{run.method.replace('_', '-')}-{label}"


def named(study: str, runs: Sequence[Run], there: Collection[str], *, again: bool) -> dict[str, Run]:
    """Runs by the names of their experiments; names that there are not yet, where they are to be made again."""
    found = {}
    for run in runs:
        first = experiment(study, run)
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        found[next(name for name in names if not again or name not in there)] = run
    return found


def override(settings: Mapping[str, Any]) -> list[str]:
    """Params as options of `dvc exp run`, in the grammar of Hydra's overrides, which are not JSON."""
    return [word for key, value in settings.items() for word in ("--set-param", f"{key}={_hydra(value)}")]


def _hydra(value: Any) -> str:
    if isinstance(value, str):
        # A backslash escapes only before a quote, be it the closing one.
        return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), value) + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_hydra(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_hydra, value)) + "]"
    return json.dumps(value)


class Experiments:
    """The experiments on the commit that is checked out.

    Raises:
        UserError: something is not committed, so that an experiment would not have it.
    """

    def __init__(self) -> None:
        self.commit = output("git", "rev-parse", "HEAD").strip()
        own = [f":(exclude){folder}" for folder in WRITTEN]
        changed = output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", *own).strip()
        if changed:
            raise UserError(f"{changed.splitlines()[0].split()[-1]} is not committed: an experiment is of the last commit")

    def names(self) -> dict[str, str]:
        """Those that are here, with their Git references."""
        prefix = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/"
        listed = output("git", "for-each-ref", "--format=%(refname)", prefix).split()
        return {reference.removeprefix(prefix): reference for reference in listed}

    def result(self, run: Run, reference: str) -> Result:
        """What was measured in an experiment and on which machine, from Git, the cache or the remote."""
        import dvc.api

        revision = output("git", "rev-parse", reference).strip()
        found: Metrics = json.loads(dvc.api.read(MEASURED[run.domain].format(method=run.method), rev=revision))
        return Result(run, found, json.loads(output("git", "show", f"{revision}:{machine.FILE.as_posix()}"))["facts"])


def queued(study: str, jobs: int, *, again: bool = False) -> Place:
    """Runs by the workers of DVC's queue, so many at a time; what is stopped here goes on there."""

    def run_all(runs: Sequence[Run]) -> Iterator[Result]:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        home = Experiments()
        try:
            with Repo() as repo:
                yield from _through(repo.experiments.celery_queue, home, study, runs, jobs, again=again)
        except DvcException as error:
            raise UserError(f"{study}: {' '.join(str(error).split())}") from None

    return run_all


def _through(queue: Any, home: Experiments, study: str, runs: Sequence[Run], jobs: int, *, again: bool) -> Iterator[Result]:
    asked = {name for name, state in _states(queue).items() if state in ("Queued", "Running")}
    there = home.names()
    waiting = named(study, runs, there, again=again)
    for name, run in waiting.items():
        if name not in asked | there.keys():
            output("dvc", "exp", "run", "--queue", "--name", name, *override(wanted(run)))
    output("dvc", "queue", "start", "--jobs", str(jobs))
    print(f"{study}: in DVC's queue, `dvc queue status` shows it and `dvc queue stop` stops it", flush=True)
    failed: list[str] = []
    idle = 0
    while waiting:
        states, there = _states(queue), home.names()
        for name in [name for name in waiting if name in there]:
            yield home.result(waiting.pop(name), there[name])
        for name in [name for name in waiting if states.get(name) not in ("Queued", "Running", "Success")]:
            failed.append(f"{waiting.pop(name)}: `dvc queue logs {name}` says why")
        # Workers take a moment to come up, and go when the queue is stopped.
        idle = 0 if queue.worker_status() else idle + 1
        if waiting and idle > PATIENCE:
            raise UserError(f"{study}: DVC's queue was stopped, {len(waiting)} runs are left; started again, it goes on")
        time.sleep(LOOK if waiting else 0)
    if failed:
        raise UserError(f"{len(failed)} experiments failed; {failed[0]}")


def _states(queue: Any) -> dict[str, str]:
    """What DVC's queue says of each experiment. One that is tried again is listed twice, and what is still to come counts."""
    order = ("Failed", "Success", "Queued", "Running")
    listed = sorted(queue.status(), key=lambda one: order.index(one["status"]) if one["status"] in order else 0)
    return {one["name"]: one["status"] for one in listed}


class Home(Experiments):
    """The repository from which the sweep is started and to which its experiments come.

    Args:
        git: from where the nodes clone, and to where they push.

    Raises:
        UserError: something is not committed or not where the nodes clone from, or there is no DVC remote.
    """

    def __init__(self, git: str | None) -> None:
        super().__init__()
        self.git = _anywhere(git) if git else str(Path.cwd())
        self.remote = _remote()
        if git:
            # As a node gets it: what is asked for from here git takes from here.
            with tempfile.TemporaryDirectory(prefix="sweep-") as clone:
                try:
                    output("git", "clone", "--quiet", "--bare", self.git, clone)
                    output("git", "-C", clone, "cat-file", "-e", f"{self.commit}^{{commit}}")
                except UserError as error:
                    raise UserError(f"{git} does not give the commit {self.commit[:7]}, is it pushed? {error}") from None

    def fetch(self) -> None:
        """Bring the experiments on the current commit here from where the nodes pushed them, also of an earlier sweep."""
        ours = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/*"
        output("git", "fetch", "--quiet", self.git, f"+{ours}:{ours}")


def _anywhere(git: str) -> str:
    """The address of a Git repository, given as a path, an address or the name of a remote, as it is in every folder."""
    address = output("git", "ls-remote", "--get-url", git).strip()
    return str(Path(address).resolve()) if Path(address).exists() else address


def _remote() -> tuple[str, dict[str, Any]]:
    """The name of the default DVC remote and its settings."""
    from dvc.repo import Repo

    with Repo() as repo:
        name = repo.config["core"].get("remote")
        remotes = repo.config["remote"]
    if name not in remotes:
        raise UserError("there is no DVC remote for the nodes to share: `dvc remote add --default NAME URL` makes one")
    return name, dict(remotes[name])
