"""Run the cells of a study as DVC experiments on a Ray cluster.

    python -m stages.sweep STUDY [--address auto|HOST:PORT] [--git URL]

Every cell, with every seed of the study's `runs`, is one Ray task. It clones the current commit, runs the whole pipeline as a
DVC experiment with the cell's params, and pushes the outputs and the run-cache to the project's DVC remote, and the experiment
to the Git repository that it was cloned from, where `dvc exp show` then has it. What the cell leaves as the committed run has
it is pulled instead of computed. Placement, retries after the death of a node, logs and the dashboard are Ray's; a sweep that
was stopped and is started again finds the experiments that are there and runs the others.

Without an address, or with `auto` where no cluster is running, Ray starts on this machine. On a cluster every node needs the
packages of requirements.txt and requirements-cluster.txt and has to reach the DVC remote, the Git URL (by default this folder,
which suffices where file systems are shared) and, where MLFLOW_TRACKING_URI is set, that server. A task asks for `threads` ×
`processes` CPUs, or where `device` is cuda for one GPU a process. The study's table and picture are written when all of its
cells are there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages import digests, files
from stages import params as parameters
from stages.cells import REPORTS, Study, cells, digest, folder, load, runs, with_settings
from stages.command import end, output
from stages.errors import UserError
from stages.imports import ROOT
from stages.store import tracking_uri

RETRIES = 3
"""How often a task is started again after its node died."""
STOPPING = 10
"""Seconds that the tasks of a sweep that is stopped have to end what they started."""
TRIES = "RAY_gcs_server_port_wait_time_s"
"""How Ray is told how often to try to reach a cluster, 40 s each time."""
ALONE = {"mog": ("methods",), "mnist": ("mnist.methods", "mnist_reconstruct.methods")}
"""The lists of methods of each world: an experiment has its cell's method and no other."""
IDLE = {"mog": {}, "mnist": {"methods": ["dsm"]}}
"""What an experiment is spared of the other world, which the pipeline has too."""
MLFLOW = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""What of the environment every node is told, beside where the store is: who asks."""
OPTIONS = ("endpointurl", "region", "profile", "port", "user")
"""What of a DVC remote beside its address a node is told; secrets are not among it: each node has its own."""


def experiments(name: str, study: Study) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The experiments of a study: their name, which depends on their params alone, their method and their params."""
    for method, settings in cells(study):
        yield from of_cell(name, study, method, settings)


def of_cell(name: str, study: Study, method: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The experiments of one cell, one for each of its runs."""
    for run in runs(study, settings):
        wanted = {**run, **IDLE[folder(study)], **{key: [method] for key in ALONE[folder(study)]}}
        label = digests.of_content([method, wanted])[:8]
        yield f"{name.replace('_', '-')}-{method.replace('_', '-')}-{label}", method, wanted


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


def run_experiment(task: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Run one experiment in a clone and push it; runs on any node, with nothing but what `task` holds.

    Returns:
        Its name, and the warnings that its commands gave.
    """
    # A Ray that reaps what its workers start has them ignore the end of a child: its status would always be 0.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, **task["environment"], "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    warnings: list[str] = []

    def call(*command: str) -> None:
        status, said = _in_a_group(command, clone, environment)
        lines = [line for line in said.splitlines() if line.strip()]
        if status:
            last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "no message")
            raise RuntimeError(f"{task['name']}: {' '.join(command[:3])}: {last}")
        warnings.extend(line for line in lines if line.startswith("warning: "))

    with tempfile.TemporaryDirectory(prefix="sweep-") as clone:
        call("git", "clone", "--quiet", task["git"], ".")
        call("git", "checkout", "--quiet", "--detach", task["commit"])
        name, settings = task["remote"]
        call("dvc", "remote", "add", "--local", "--force", "--default", name, settings["url"])
        for option in OPTIONS:
            if option in settings:
                call("dvc", "remote", "modify", "--local", name, option, str(settings[option]))
        call("dvc", "exp", "run", "--pull", "--name", task["name"], *task["options"])
        # An experiment that is home counts as done, so what belongs to it goes before.
        call("dvc", "push", "--run-cache")
        call("dvc", "exp", "push", "--force", "--no-cache", task["git"], task["name"])
    return str(task["name"]), warnings


def _in_a_group(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """The status of a command and what it printed; where this is stopped, what the command started ends with it."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        while True:
            # Ray stops a task by an exception that does not wake what waits.
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = process.communicate(timeout=1)
                return process.returncode, said
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Home:
    """The repository from which the sweep is started and to which its experiments come.

    Args:
        git: from where the nodes clone, and to where they push.

    Raises:
        UserError: something is not committed or not where the nodes clone from, or there is no DVC remote.
    """

    def __init__(self, git: str | None) -> None:
        self.git = _anywhere(git) if git else str(Path.cwd())
        self.commit = output("git", "rev-parse", "HEAD").strip()
        changed = output("git", "status", "--porcelain", "--untracked-files=no").strip()
        if changed:
            raise UserError(f"{changed.splitlines()[0].split()[-1]} is not committed: every node clones the last commit")
        self.remote = _remote()
        if git:
            # As a node gets it: what is asked for from here git takes from here.
            with tempfile.TemporaryDirectory(prefix="sweep-") as clone:
                try:
                    output("git", "clone", "--quiet", "--bare", self.git, clone)
                    output("git", "-C", clone, "cat-file", "-e", f"{self.commit}^{{commit}}")
                except UserError as error:
                    raise UserError(f"{git} does not give the commit {self.commit[:7]}, is it pushed? {error}") from None

    def experiments(self) -> dict[str, str]:
        """The experiments on the current commit that are here, with their Git references."""
        prefix = f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/"
        listed = output("git", "for-each-ref", "--format=%(refname)", prefix).split()
        return {reference.removeprefix(prefix): reference for reference in listed}

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


def resources(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many CPUs and GPUs an experiment with these params asks for."""
    return (1, params["processes"]) if params["device"] == "cuda" else (params["threads"] * params["processes"], 0)


def sweep(tasks: list[dict[str, Any]], home: Home, *, address: str | None) -> list[str]:
    """Run the tasks on Ray and bring each result home as it comes; returns what failed, one line for each.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or an experiment asks for more than any node has.
    """
    if address and ("RAY_AUTH_TOKEN" in os.environ or Path.home().joinpath(".ray/auth_token").exists()):
        # `ray start` asks for the token as soon as there is one, ray.init with an address does not offer it by itself.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address:
        # By itself Ray tries for a quarter of an hour to reach a cluster that is gone; one that was killed leaves its address.
        os.environ.setdefault(TRIES, "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Where Ray starts here. By itself it ends the commands of a task that dies, but not what they started.
    os.environ.setdefault("RAY_kill_child_processes_on_worker_exit_with_raylet_subreaper", "true")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("Ray is not installed: `make cluster`, or `pip install -r requirements-cluster.txt`") from None

    def join(where: str) -> None:
        environment = {"py_modules": [str(ROOT / "stages")]}
        ray.init(address=where, runtime_env=environment, log_to_driver=False, logging_level=logging.WARNING)

    try:
        join(address or "local")
    except ConnectionError as error:
        if address != "auto":
            raise UserError(f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}") from None
        print("sweep: no Ray cluster is running here, one is started on this machine", flush=True)
        del os.environ[TRIES]  # a cluster that starts may take its time
        join("local")
    remote = ray.remote(max_retries=RETRIES, retry_exceptions=False)(run_experiment)
    failed: list[str] = []
    waiting: list[Any] = []
    try:
        for task in tasks:
            _check_room(ray.nodes(), *task["resources"])
        asked = (dict(zip(("num_cpus", "num_gpus"), task["resources"], strict=True)) for task in tasks)
        waiting = [remote.options(**wish).remote(task) for wish, task in zip(asked, tasks, strict=True)]
        while waiting:
            (done,), waiting = ray.wait(waiting)
            try:
                name, warnings = ray.get(done)
                home.fetch()
            except (ray.exceptions.RayError, UserError) as error:
                failed.append(str(getattr(error, "cause", None) or error).strip().splitlines()[-1])
                print(f"sweep: failed: {failed[-1]}", flush=True)
            else:
                print(*(f"sweep: {name}: {line}\n" for line in warnings), sep="", end="")
                print(f"sweep: {name} is here, {len(waiting)} to go", flush=True)
    finally:
        if waiting:
            for one in waiting:
                ray.cancel(one)
            ray.wait(waiting, num_returns=len(waiting), timeout=STOPPING)
        ray.shutdown()
    return failed


def _check_room(nodes: Sequence[Mapping[str, Any]], cpus: int, gpus: int) -> None:
    """Ray waits for ever for a node that is large enough: say at once that there is none."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in there):
        largest = max((one.get("CPU", 0) for one in there), default=0)
        raise UserError(
            f"an experiment asks for {cpus} CPUs and {gpus} GPUs: no node has them, the largest has {largest:g} CPUs"
        )


def main(arguments: Sequence[str]) -> None:
    """Run what is missing of a study; then write its table and its picture."""
    parser = argparse.ArgumentParser(prog="python -m stages.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("study", help="a study of studies.yaml")
    parser.add_argument("--address", help="of the Ray cluster, or auto; where there is none Ray starts on this machine")
    parser.add_argument("--git", help="from where the nodes clone and to where they push; by default this folder")
    options = parser.parse_args(arguments)
    params, raw, study = parameters.load(), parameters.read(), load(options.study)
    home = Home(options.git)
    made = digest(study, raw)
    wanted = list(experiments(options.study, study))
    home.fetch()
    there = home.experiments()
    if options.address and "MLFLOW_TRACKING_URI" not in os.environ:
        print(f"sweep: without MLFLOW_TRACKING_URI nodes log into {tracking_uri()}, which other machines may not have")
    environment = {"MLFLOW_TRACKING_URI": tracking_uri(), **{key: os.environ[key] for key in MLFLOW if key in os.environ}}
    tasks = [
        {
            "name": name,
            "git": home.git,
            "commit": home.commit,
            "remote": home.remote,
            "resources": resources(with_settings(raw, settings)),
            "options": override(settings),
            "environment": environment,
        }
        for name, _, settings in wanted
        if name not in there
    ]
    print(f"sweep: {len(wanted)} experiments, {len(wanted) - len(tasks)} of them here already", flush=True)
    failed = sweep(tasks, home, address=options.address) if tasks else []
    if failed:
        raise UserError(f"{len(failed)} of {len(wanted)} experiments failed; started again, the sweep runs those alone")
    _report(options.study, study, home, params, raw, made)


def _report(name: str, study: Study, home: Home, params: Any, raw: Mapping[str, Any], made: str) -> None:
    """Write what `python -m stages.study` writes, from the experiments."""
    from stages.study import assemble, content, report

    here, found = home.experiments(), []
    for method, settings in cells(study):
        path = f"reports/metrics/{folder(study)}/{method}.json"
        names = [one for one, _, _ in of_cell(name, study, method, settings)]
        metrics = [json.loads(output("git", "show", f"{here[one]}:{path}")) for one in names]
        if study.world == "mnist_reconstruct":
            metrics = [one["reconstruction"] for one in metrics]
        found.append(assemble(study, method, settings, metrics))
    files.write_json(REPORTS / f"{name}.json", content(name, study, raw, made, found))
    report(name, study, found, params)
    print(f"sweep: {REPORTS / name}.md has the table; `dvc exp show` has the experiments")


if __name__ == "__main__":
    end(main)
