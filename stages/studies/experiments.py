"""Runs of a study as DVC experiments: their names and params, how results are fetched, and DVC's queue.

`dvc exp show` lists them. An experiment is the whole pipeline with the params of one run; stages that these params do not
change come from the cache. Its name is derived from its params, so a restarted study finds the existing experiments.
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
from stages.studies.engine import Backend, Metrics, Result
from stages.studies.grid import Run
from stages.studies.here import MEASURED, only_method

OTHER_DOMAIN = {"mog": {}, "mnist": {"methods": ["dsm"]}, "pixels": {"methods": ["dsm"]}}
"""Params that reduce the other part of the pipeline in an experiment on one domain."""
STUDY_OUTPUTS = ("reports/studies", "reports/figures/studies")
"""Folders that studies write; they may have uncommitted changes, since experiments read only the last commit."""
POLL_INTERVAL = 2
"""Seconds between polls of the queue."""
MAX_IDLE_POLLS = 15
"""Polls without a worker after which the queue counts as stopped."""


def changed_params(run: Run) -> dict[str, Any]:
    """The params of a run's experiment that replace those of params.yaml."""
    return {**run.settings, **OTHER_DOMAIN[run.folder], **only_method(run)}


def experiment(study: str, run: Run) -> str:
    """The name of the experiment of a run."""
    label = digests.of_content([run.method, changed_params(run)])[:8]
    return f"{study.replace('_', '-')}-{run.method.replace('_', '-')}-{label}"


def named(study: str, runs: Sequence[Run], there: Collection[str], *, again: bool) -> dict[str, Run]:
    """Runs by the names of their experiments; with `again`, names that do not exist yet."""
    found = {}
    for run in runs:
        first = experiment(study, run)
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        found[next(name for name in names if not again or name not in there)] = run
    return found


def override(settings: Mapping[str, Any]) -> list[str]:
    """Params as options of `dvc exp run`, in the grammar of Hydra's overrides, which is not JSON."""
    return [option for key, value in settings.items() for option in ("--set-param", f"{key}={_hydra(value)}")]


def _hydra(value: Any) -> str:
    if isinstance(value, str):
        # A backslash escapes only before a quote, including the closing one.
        return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), value) + "'"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_hydra(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_hydra, value)) + "]"
    return json.dumps(value)


class Experiments:
    """The experiments on the checked-out commit.

    Raises:
        UserError: there are uncommitted changes, which an experiment would not contain.
    """

    def __init__(self) -> None:
        self.commit = output("git", "rev-parse", "HEAD").strip()
        own = [f":(exclude){folder}" for folder in STUDY_OUTPUTS]
        changed = output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", *own).strip()
        if changed:
            raise UserError(f"{changed.splitlines()[0].split()[-1]} is not committed: experiments run the last commit")

    def names(self) -> dict[str, str]:
        """Names of the local experiments, with their Git references."""
        prefix = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/"
        listed = output("git", "for-each-ref", "--format=%(refname)", prefix).split()
        return {reference.removeprefix(prefix): reference for reference in listed}

    def result(self, run: Run, reference: str) -> Result:
        """The metrics of an experiment and the machine that computed them, from Git, the cache or the remote."""
        import dvc.api

        revision = output("git", "rev-parse", reference).strip()
        found: Metrics = json.loads(dvc.api.read(MEASURED[run.domain](run.method).as_posix(), rev=revision))
        return Result(run, found, json.loads(output("git", "show", f"{revision}:{machine.FILE.as_posix()}"))["facts"])


def queued(study: str, jobs: int, *, again: bool = False) -> Backend:
    """A backend that runs in DVC's queue with `jobs` workers; if this process is stopped, the queue continues."""

    def run_all(runs: Sequence[Run]) -> Iterator[Result]:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        experiments = Experiments()
        try:
            with Repo() as repo:
                yield from _through(repo.experiments.celery_queue, experiments, study, runs, jobs, again=again)
        except DvcException as error:
            raise UserError(f"{study}: {' '.join(str(error).split())}") from None

    return run_all


def _through(
    queue: Any, experiments: Experiments, study: str, runs: Sequence[Run], jobs: int, *, again: bool
) -> Iterator[Result]:
    pending = {name for name, state in _states(queue).items() if state in ("Queued", "Running")}
    there = experiments.names()
    waiting = named(study, runs, there, again=again)
    for name, run in waiting.items():
        if name not in pending | there.keys():
            output("dvc", "exp", "run", "--queue", "--name", name, *override(changed_params(run)))
    output("dvc", "queue", "start", "--jobs", str(jobs))
    print(f"{study}: queued in DVC, `dvc queue status` shows the queue and `dvc queue stop` stops it", flush=True)
    failed: list[str] = []
    idle = 0
    while waiting:
        states, there = _states(queue), experiments.names()
        for name in [name for name in waiting if name in there]:
            yield experiments.result(waiting.pop(name), there[name])
        for name in [name for name in waiting if states.get(name) not in ("Queued", "Running", "Success")]:
            failed.append(f"{waiting.pop(name)}: `dvc queue logs {name}` shows the error")
        # Workers take a moment to start, and exit when the queue is stopped.
        idle = 0 if queue.worker_status() else idle + 1
        if waiting and idle > MAX_IDLE_POLLS:
            raise UserError(
                f"{study}: DVC's queue was stopped, {len(waiting)} runs are left; run the command again to continue"
            )
        time.sleep(POLL_INTERVAL if waiting else 0)
    if failed:
        raise UserError(f"{len(failed)} experiments failed; {failed[0]}")


def _states(queue: Any) -> dict[str, str]:
    """The state of each experiment in DVC's queue. A retried experiment is listed twice: the unfinished attempt counts."""
    order = ("Failed", "Success", "Queued", "Running")
    listed = sorted(queue.status(), key=lambda one: order.index(one["status"]) if one["status"] in order else 0)
    return {one["name"]: one["status"] for one in listed}


class SharedExperiments(Experiments):
    """The experiments on the checked-out commit, exchanged with the nodes through a Git repository.

    Args:
        git: repository that the nodes clone from and push to; None for this folder.

    Raises:
        UserError: there are uncommitted changes, the repository lacks the commit, or there is no DVC remote.
    """

    def __init__(self, git: str | None) -> None:
        super().__init__()
        self.git = _absolute_address(git) if git else str(Path.cwd())
        self.remote = _remote()
        if git:
            # Check a clone, as on a node: in this folder Git would find the commit locally.
            with tempfile.TemporaryDirectory(prefix="sweep-") as clone:
                try:
                    output("git", "clone", "--quiet", "--bare", self.git, clone)
                    output("git", "-C", clone, "cat-file", "-e", f"{self.commit}^{{commit}}")
                except UserError as error:
                    raise UserError(f"{git} does not contain the commit {self.commit[:7]}, is it pushed? {error}") from None

    def fetch(self) -> None:
        """Fetch the experiments on the current commit that nodes pushed, in this sweep or an earlier one."""
        ours = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/*"
        output("git", "fetch", "--quiet", self.git, f"+{ours}:{ours}")


def _absolute_address(git: str) -> str:
    """The address of a Git repository, given as a path, a URL or the name of a remote, in a form valid in any folder."""
    address = output("git", "ls-remote", "--get-url", git).strip()
    return str(Path(address).resolve()) if Path(address).exists() else address


def _remote() -> tuple[str, dict[str, Any]]:
    """The name of the default DVC remote and its settings.

    Raises:
        UserError: there is none.
    """
    from dvc.repo import Repo

    with Repo() as repo:
        name = repo.config["core"].get("remote")
        remotes = repo.config["remote"]
    if name not in remotes:
        raise UserError("there is no DVC remote for the nodes to share: `dvc remote add --default NAME URL` adds one")
    return name, dict(remotes[name])
