"""Runs of a study on a Ray cluster, each as a DVC experiment (experiments.py).

Every run is one Ray task. It clones the current commit, runs the whole pipeline as a DVC experiment with the run's params, and
pushes the outputs and the run-cache to the project's DVC remote, and the experiment to the Git repository that it was cloned
from, where `dvc exp show` then has it. What the run leaves as the committed pipeline has it is pulled instead of computed.
Placement, retries after the death of a node, logs and the dashboard are Ray's; a sweep that was stopped and is started again
finds the experiments that are there and runs the others.

Without an address, or with `auto` where no cluster is running, Ray starts on this machine. On a cluster every node needs the
packages of requirements.txt and requirements-cluster.txt and has to reach the DVC remote, the Git URL (by default this folder,
which suffices where file systems are shared) and, where MLFLOW_TRACKING_URI is set, that server. A task asks for `threads` ×
`processes` CPUs, or where `device` is cuda for one GPU a process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.studies.engine import Place, Project, Result
from stages.studies.experiments import Home, named, override, wanted
from stages.studies.grid import Run, with_settings
from stages.tracking.store import NOW, WHEN, tracking_uri

RETRIES = 3
"""How often a task is started again after its node died."""
STOPPING = 10
"""Seconds that the tasks of a sweep that is stopped have to end what they started."""
TRIES = "RAY_gcs_server_port_wait_time_s"
"""How Ray is told how often to try to reach a cluster, 40 s each time."""
MLFLOW = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""What of the environment every node is told, beside where the store is: who asks."""
OPTIONS = ("endpointurl", "region", "profile", "port", "user")
"""What of a DVC remote beside its address a node is told; secrets are not among it: each node has its own."""


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


def resources(params: Mapping[str, Any]) -> tuple[int, int]:
    """How many CPUs and GPUs an experiment with these params asks for."""
    return (1, params["processes"]) if params["device"] == "cuda" else (params["threads"] * params["processes"], 0)


def sweep(tasks: list[dict[str, Any]], home: Home, failed: list[str], *, address: str | None) -> Iterator[str]:
    """Run the tasks on Ray, bring each result home as it comes and yield its name; `failed` gets a line for each that failed.

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
                yield name
    finally:
        if waiting:
            for one in waiting:
                ray.cancel(one)
            ray.wait(waiting, num_returns=len(waiting), timeout=STOPPING)
        ray.shutdown()


def _check_room(nodes: Sequence[Mapping[str, Any]], cpus: int, gpus: int) -> None:
    """Ray waits for ever for a node that is large enough: say at once that there is none."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in there):
        largest = max((one.get("CPU", 0) for one in there), default=0)
        raise UserError(
            f"an experiment asks for {cpus} CPUs and {gpus} GPUs: no node has them, the largest has {largest:g} CPUs"
        )


def place(study: str, project: Project, git: str | None, address: str | None, *, again: bool = False) -> Place:
    """Runs as DVC experiments on a Ray cluster, or on this machine where Ray starts here.

    Args:
        study: its name.
        project: whose params the runs differ from.
        git: from where the nodes clone and to where they push; this folder where nothing is given.
        address: of the cluster, or auto; where there is none Ray starts on this machine.
        again: whether to make experiments that are there once more.
    """

    def run_all(runs: Sequence[Run]) -> Iterator[Result]:
        home = Home(git)
        home.fetch()
        there = home.names()
        if address and "MLFLOW_TRACKING_URI" not in os.environ:
            print(f"sweep: without MLFLOW_TRACKING_URI nodes log into {tracking_uri()}, which other machines may not have")
        # What a node has not logged before it ends is gone with its clone.
        environment = {
            WHEN: NOW,
            "MLFLOW_TRACKING_URI": tracking_uri(),
            **{key: os.environ[key] for key in MLFLOW if key in os.environ},
        }
        asked = named(study, runs, there, again=again)
        tasks = [
            {
                "name": name,
                "git": home.git,
                "commit": home.commit,
                "remote": home.remote,
                "resources": resources(with_settings(project.raw, run.settings)),
                "options": override(wanted(run)),
                "environment": environment,
            }
            for name, run in asked.items()
            if name not in there
        ]
        print(f"sweep: {len(asked)} experiments, {len(asked) - len(tasks)} of them here already", flush=True)
        failed: list[str] = []
        for name, run in asked.items():
            if name in there:
                yield home.result(run, there[name])
        for name in sweep(tasks, home, failed, address=address) if tasks else ():
            yield home.result(asked[name], home.names()[name])
        if failed:
            raise UserError(f"{len(failed)} of {len(asked)} experiments failed; started again, the sweep runs those alone")

    return run_all
