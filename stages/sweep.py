"""Run the cells of a study as DVC experiments on a Ray cluster.

    python -m stages.sweep STUDY [--address auto|HOST:PORT] [--git URL]

Every cell, with every seed of the study's `runs`, is one Ray task. It clones the current commit, runs the whole pipeline as a
DVC experiment with the cell's params, and pushes the outputs and the run-cache to the project's DVC remote, and the experiment
to the Git repository that it was cloned from, where `dvc exp show` then has it. What the cell leaves as the committed run has
it is pulled instead of computed. Placement, retries after the death of a node, logs and the dashboard are Ray's; a sweep that
was stopped and is started again finds the experiments that are there and runs the others.

Without an address Ray starts on this machine. On a cluster every node needs the packages of requirements.txt and
requirements-cluster.txt and has to reach the DVC remote, the Git URL (by default this folder, which suffices where file systems
are shared) and, where MLFLOW_TRACKING_URI is set, that server. A task asks for `threads` × `processes` CPUs, or where `device`
is cuda for one GPU a process. The study's table and picture are written when all of its cells are there.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages import digests
from stages import params as parameters
from stages.cells import REPORTS, Study, cells, digest, folder, load, runs
from stages.command import end, output
from stages.errors import UserError
from stages.imports import ROOT

RETRIES = 3
"""How often a task is started again after its node died."""


def experiments(name: str, study: Study) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The experiments of a study: their name, which depends on their params alone, their method and their params."""
    for method, settings in cells(study):
        yield from of_cell(name, study, method, settings)


def of_cell(name: str, study: Study, method: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The experiments of one cell, one for each of its runs."""
    for run in runs(study, settings):
        wanted = {**run, "mnist_reconstruct.methods": [method]} if study.world == "mnist_reconstruct" else run
        label = digests.of_content([method, wanted])[:8]
        yield f"{name.replace('_', '-')}-{method.replace('_', '-')}-{label}", method, wanted


def override(settings: Mapping[str, Any]) -> list[str]:
    """Params as options of `dvc exp run`."""
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return [word for key, value in values.items() for word in ("--set-param", f"{key}={value}")]


def run_experiment(task: Mapping[str, Any]) -> str:
    """Run one experiment in a clone and push it; runs on any node, with nothing but what `task` holds. Returns its name."""
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, **task["environment"], "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}

    def call(*command: str) -> None:
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            said = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "no message")
            raise RuntimeError(f"{task['name']}: {' '.join(command[:3])}: {said}")

    with tempfile.TemporaryDirectory(prefix="sweep-") as clone:
        call("git", "clone", "--quiet", task["git"], ".")
        call("git", "checkout", "--quiet", "--detach", task["commit"])
        call("dvc", "remote", "add", "--local", "--force", "--default", "shared", task["remote"])
        call("dvc", "exp", "run", "--pull", "--name", task["name"], *task["options"])
        call("dvc", "exp", "push", "--force", "--run-cache", task["git"], task["name"])
    return str(task["name"])


class Home:
    """The repository from which the sweep is started and to which its experiments come.

    Args:
        git: from where the nodes clone, and to where they push.

    Raises:
        UserError: something is not committed, or there is no DVC remote.
    """

    def __init__(self, git: str | None) -> None:
        self.git = git or str(Path.cwd())
        self.commit = output("git", "rev-parse", "HEAD").strip()
        changed = output("git", "status", "--porcelain", "--untracked-files=no").strip()
        if changed:
            raise UserError(f"{changed.splitlines()[0].split()[-1]} is not committed: every node clones the last commit")
        self.remote = _remote()

    def experiments(self) -> dict[str, str]:
        """The experiments on the current commit that are here, with their Git references."""
        prefix = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/"
        listed = output("git", "for-each-ref", "--format=%(refname)", prefix).split()
        return {reference.removeprefix(prefix): reference for reference in listed}

    def fetch(self, name: str) -> None:
        """Bring an experiment here from where the nodes pushed it."""
        if name not in self.experiments():
            output("dvc", "exp", "pull", "--no-cache", self.git, name)


def _remote() -> str:
    """The address of the default DVC remote."""
    from dvc.repo import Repo

    with Repo() as repo:
        name = repo.config["core"].get("remote")
        remotes = repo.config["remote"]
    if name not in remotes:
        raise UserError("there is no DVC remote for the nodes to share: `dvc remote add --default NAME URL` makes one")
    return str(remotes[name]["url"])


def sweep(tasks: list[dict[str, Any]], home: Home, *, address: str | None, cpus: int, gpus: int) -> list[str]:
    """Run the tasks on Ray and bring each result home as it comes; returns what failed, one line for each."""
    if address and ("RAY_AUTH_TOKEN" in os.environ or Path.home().joinpath(".ray/auth_token").exists()):
        # `ray start` asks for the token as soon as there is one, ray.init with an address does not offer it by itself.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init(
        address=address, runtime_env={"py_modules": [str(ROOT / "stages")]}, log_to_driver=False, logging_level=logging.WARNING
    )
    remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False)(run_experiment)
    failed: list[str] = []
    try:
        waiting = [remote.remote(task) for task in tasks]
        while waiting:
            (done,), waiting = ray.wait(waiting)
            try:
                name = ray.get(done)
            except ray.exceptions.RayError as error:
                failed.append(str(getattr(error, "cause", None) or error).strip().splitlines()[-1])
                print(f"sweep: failed: {failed[-1]}", flush=True)
            else:
                home.fetch(name)
                print(f"sweep: {name} is here, {len(waiting)} to go", flush=True)
    finally:
        ray.shutdown()
    return failed


def main(arguments: Sequence[str]) -> None:
    """Run what is missing of a study; then write its table and its picture."""
    parser = argparse.ArgumentParser(prog="python -m stages.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("study", help="a study of studies.yaml")
    parser.add_argument("--address", help="of the Ray cluster, or auto; without it Ray starts on this machine")
    parser.add_argument("--git", help="from where the nodes clone and to where they push; by default this folder")
    options = parser.parse_args(arguments)
    params, raw, study = parameters.load(), parameters.read(), load(options.study)
    home = Home(options.git)
    wanted = list(experiments(options.study, study))
    there = home.experiments()
    environment = {key: os.environ[key] for key in ("MLFLOW_TRACKING_URI",) if key in os.environ}
    tasks = [
        {
            "name": name,
            "git": home.git,
            "commit": home.commit,
            "remote": home.remote,
            "options": override(settings),
            "environment": environment,
        }
        for name, _, settings in wanted
        if name not in there
    ]
    print(f"sweep: {len(wanted)} experiments, {len(wanted) - len(tasks)} of them here already", flush=True)
    on_gpu = params.device == "cuda"
    cpus, gpus = (1, params.processes) if on_gpu else (params.threads * params.processes, 0)
    failed = sweep(tasks, home, address=options.address, cpus=cpus, gpus=gpus) if tasks else []
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} experiments failed; started again, the sweep runs those alone")
    _report(options.study, study, home, params, raw)


def _report(name: str, study: Study, home: Home, params: Any, raw: Mapping[str, Any]) -> None:
    """Write what `python -m stages.study` writes, from the experiments."""
    from stages import runtime
    from stages.study import assemble, content, report

    here, found = home.experiments(), []
    for method, settings in cells(study):
        path = f"reports/metrics/{folder(study)}/{method}.json"
        names = [one for one, _, _ in of_cell(name, study, method, settings)]
        metrics = [json.loads(output("git", "show", f"{here[one]}:{path}")) for one in names]
        if study.world == "mnist_reconstruct":
            metrics = [one["reconstruction"] for one in metrics]
        found.append(assemble(study, method, settings, metrics))
    runtime.write_json(REPORTS / f"{name}.json", content(name, study, raw, digest(study, raw), found))
    report(name, study, found, params)
    print(f"sweep: {REPORTS / name}.md has the table; `dvc exp show` has the experiments")


if __name__ == "__main__":
    end(main)
