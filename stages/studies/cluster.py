"""Runs of a study on a Ray cluster, each as a DVC experiment (experiments.py).

Each run is one Ray task. It clones the current commit, runs the whole pipeline as a DVC experiment with the params of the run,
pushes the outputs and the run cache to the DVC remote, and pushes the experiment to the Git repository that it cloned, where
`dvc exp show` lists it. Outputs that these params do not change are pulled instead of computed. Placement, retries after the
death of a node, logs and the dashboard are Ray's. A restarted sweep finds the existing experiments and runs the others.

Without an address, or with `auto` if no cluster is running, Ray starts on this machine. On a cluster every node needs the
packages of requirements.txt and requirements-cluster.txt and access to the DVC remote, to the Git URL (by default this folder,
which works on a shared file system) and, if MLFLOW_TRACKING_URI is set, to that server. A task requests `threads` × `processes`
CPUs or, if `device` is cuda, one GPU per process.
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
from stages.studies.engine import Backend, Project, Result
from stages.studies.experiments import SharedExperiments, changed_params, named, override
from stages.studies.grid import Run, with_settings
from stages.tracking.store import NOW, WHEN, tracking_uri

RETRIES = 3
"""How often a task is retried after its node died."""
STOP_TIMEOUT = 10
"""Seconds that the tasks of a stopped sweep have to end their processes."""
CONNECTION_ATTEMPTS = "RAY_gcs_server_port_wait_time_s"
"""Environment variable for how often Ray tries to reach a cluster, 40 s each."""
MLFLOW_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Environment variables with MLflow credentials, which every node gets along with the address of the store."""
REMOTE_OPTIONS = ("endpointurl", "region", "profile", "port", "user")
"""Settings of the DVC remote that a node gets along with its URL. Secrets are not among them: each node has its own."""


def run_experiment(task: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Run one experiment in a clone and push it; runs on any node and needs only the content of `task`.

    Returns:
        The name of the experiment and the warnings of its commands.

    Raises:
        RuntimeError: a command failed.
    """
    # With Ray's subreaper workers ignore SIGCHLD, so the status of every child would be 0.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, **task["environment"], "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}
    warnings: list[str] = []

    def call(*command: str) -> None:
        status, printed = _run_in_group(command, clone, environment)
        lines = [line for line in printed.splitlines() if line.strip()]
        if status:
            last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "no message")
            raise RuntimeError(f"{task['name']}: {' '.join(command[:3])}: {last}")
        warnings.extend(line for line in lines if line.startswith("warning: "))

    with tempfile.TemporaryDirectory(prefix="sweep-") as clone:
        call("git", "clone", "--quiet", task["git"], ".")
        call("git", "checkout", "--quiet", "--detach", task["commit"])
        name, settings = task["remote"]
        call("dvc", "remote", "add", "--local", "--force", "--default", name, settings["url"])
        for option in REMOTE_OPTIONS:
            if option in settings:
                call("dvc", "remote", "modify", "--local", name, option, str(settings[option]))
        call("dvc", "exp", "run", "--pull", "--name", task["name"], *task["options"])
        # A pushed experiment counts as done, so its outputs are pushed first.
        call("dvc", "push", "--run-cache")
        call("dvc", "exp", "push", "--force", "--no-cache", task["git"], task["name"])
    return str(task["name"]), warnings


def _run_in_group(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """The status and output of a command; its whole process group ends with this call, also when that is interrupted."""
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
            # Ray cancels a task by an exception that does not interrupt a blocking wait.
            with contextlib.suppress(subprocess.TimeoutExpired):
                printed, _ = process.communicate(timeout=1)
                return process.returncode, printed
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def resources(params: Mapping[str, Any]) -> tuple[int, int]:
    """The numbers of CPUs and GPUs that an experiment with these params requests."""
    return (1, params["processes"]) if params["device"] == "cuda" else (params["threads"] * params["processes"], 0)


def sweep(
    tasks: list[dict[str, Any]], experiments: SharedExperiments, failed: list[str], *, address: str | None
) -> Iterator[str]:
    """Run the tasks on Ray, fetch each experiment as its task ends and yield its name; `failed` gets a line per failed task.

    Raises:
        UserError: Ray is not installed, no cluster answers at the address, or no node has the resources of an experiment.
    """
    if address and ("RAY_AUTH_TOKEN" in os.environ or Path.home().joinpath(".ray/auth_token").exists()):
        # `ray start` requires the token as soon as one exists; ray.init with an address does not send it by default.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if address:
        # By default Ray tries for a quarter of an hour to reach a cluster that is gone; a killed cluster leaves its address.
        os.environ.setdefault(CONNECTION_ATTEMPTS, "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # For a Ray that starts here. By default it ends the commands of a dead task, but not the processes that they started.
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
        print("sweep: no Ray cluster is running, starting one on this machine", flush=True)
        del os.environ[CONNECTION_ATTEMPTS]  # a starting cluster may take longer
        join("local")
    remote = ray.remote(max_retries=RETRIES, retry_exceptions=False)(run_experiment)
    waiting: list[Any] = []
    try:
        for task in tasks:
            _check_resources(ray.nodes(), *task["resources"])
        requests = (dict(zip(("num_cpus", "num_gpus"), task["resources"], strict=True)) for task in tasks)
        waiting = [remote.options(**request).remote(task) for request, task in zip(requests, tasks, strict=True)]
        while waiting:
            (done,), waiting = ray.wait(waiting)
            try:
                name, warnings = ray.get(done)
                experiments.fetch()
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
            ray.wait(waiting, num_returns=len(waiting), timeout=STOP_TIMEOUT)
        ray.shutdown()


def _check_resources(nodes: Sequence[Mapping[str, Any]], cpus: int, gpus: int) -> None:
    """Refuse a request that no node can meet, since Ray would wait for such a node indefinitely."""
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in there):
        largest = max((one.get("CPU", 0) for one in there), default=0)
        raise UserError(
            f"an experiment requests {cpus} CPUs and {gpus} GPUs: no node has them, the largest has {largest:g} CPUs"
        )


def backend(study: str, project: Project, git: str | None, address: str | None, *, again: bool = False) -> Backend:
    """A backend that runs DVC experiments on a Ray cluster.

    Args:
        study: name of the study.
        project: provides the params that the runs modify.
        git: repository that the nodes clone from and push to; None for this folder.
        address: address of the cluster, or auto; without one Ray starts on this machine.
        again: whether to repeat existing experiments.
    """

    def run_all(runs: Sequence[Run]) -> Iterator[Result]:
        experiments = SharedExperiments(git)
        experiments.fetch()
        there = experiments.names()
        if address and "MLFLOW_TRACKING_URI" not in os.environ:
            print(f"sweep: MLFLOW_TRACKING_URI is not set: nodes log to {tracking_uri()}, which other machines may not reach")
        # A node logs before it ends, since its clone is deleted.
        environment = {
            WHEN: NOW,
            "MLFLOW_TRACKING_URI": tracking_uri(),
            **{key: os.environ[key] for key in MLFLOW_CREDENTIALS if key in os.environ},
        }
        experiment_runs = named(study, runs, there, again=again)
        tasks = [
            {
                "name": name,
                "git": experiments.git,
                "commit": experiments.commit,
                "remote": experiments.remote,
                "resources": resources(with_settings(project.raw, run.settings)),
                "options": override(changed_params(run)),
                "environment": environment,
            }
            for name, run in experiment_runs.items()
            if name not in there
        ]
        print(
            f"sweep: {len(experiment_runs)} experiments, {len(experiment_runs) - len(tasks)} of them already done", flush=True
        )
        failed: list[str] = []
        for name, run in experiment_runs.items():
            if name in there:
                yield experiments.result(run, there[name])
        for name in sweep(tasks, experiments, failed, address=address) if tasks else ():
            yield experiments.result(experiment_runs[name], experiments.names()[name])
        if failed:
            raise UserError(
                f"{len(failed)} of {len(experiment_runs)} experiments failed; run the command again to retry only those"
            )

    return run_all
