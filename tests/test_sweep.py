"""Studies as DVC experiments, in DVC's queue and on a Ray cluster: names, params, results, resumption, failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml

from stages.core.errors import UserError
from stages.dag.lock import file_md5, locked_stages, outputs
from stages.studies import experiments
from stages.studies.cluster import sweep
from stages.studies.experiments import changed_params, experiment, override
from stages.studies.grid import Run, Study, all_runs
from tests import small


def study(**changes: object) -> Study:
    """A study of dsm with two noise levels and these changes."""
    return Study.model_validate({"methods": ["dsm"], "grid": {"dsm.sigma": [0.3, 0.5]}, "keep": ["heldout_loss"], **changes})


def test_each_run_is_an_experiment_whose_name_depends_on_its_params() -> None:
    found = all_runs(study(runs=[0, 7]))
    assert [changed_params(run) for run in found] == [
        {"dsm.sigma": sigma, "seed": seed, "methods": ["dsm"]} for sigma in (0.3, 0.5) for seed in (0, 7)
    ]
    names = [experiment("some_study", run) for run in found]
    assert len(set(names)) == 4 and all(name.startswith("some-study-dsm-") for name in names)
    assert names == [experiment("some_study", run) for run in all_runs(study(runs=[0, 7]))]


def test_overrides_are_written_in_the_grammar_of_hydra() -> None:
    settings = {"dsm.sigma": 0.3, "mog.preset": "ring", "jepa_ema.predictor": True, "mnist_vicreg.encoder.channels": [1, 2, 3]}
    assert override(settings)[1::2] == [
        "dsm.sigma=0.3", "mog.preset='ring'", "jepa_ema.predictor=true", "mnist_vicreg.encoder.channels=[1,2,3]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        "a,b",
        "0.3",
        "true",
        "it's",
        "a\\b",
        "end\\",
        "x'\\'y",
        "",
        "new\nline\n",
        [1, "a,b"],
        {"a": {"b": [0.1, True]}},
        None,
        1e-7,
    ],
)
def test_dvc_reads_overrides_of_every_type_unchanged(value: object, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("key: 0\n")
    apply_overrides(path, override({"key": value})[1::2])
    assert load_yaml(path) == {"key": value}


STUDIES = {"widths": {"methods": ["dsm"], "grid": {"dsm.sigma": [0.3, 0.4, 0.6]}, "keep": ["score.relative_fisher_error"]}}


@pytest.fixture
def shared(copied: Path, tmp_path: Path) -> Path:
    """The small clone with a DVC remote and a study, all committed and pushed."""
    (copied / "studies.yaml").write_text(yaml.safe_dump(STUDIES))
    small.run(copied, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "storage"))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=study")
    small.run(copied, "dvc", "push", "--run-cache")
    return copied


@dataclass
class Cluster:
    """A Ray cluster: a head, which executes no tasks, and two nodes with one CPU each."""

    address: str
    nodes: list[subprocess.Popen[bytes]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A running cluster that requires a token."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "known to all nodes of this test " * 2)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    port = small.free_port()
    address = f"127.0.0.1:{port}"
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
    started: list[subprocess.Popen[bytes]] = []

    def wait_for_status(text: str) -> None:
        deadline = time.monotonic() + 240
        while text not in subprocess.run([ray[0], "status", f"--address={address}"], capture_output=True, text=True).stdout:
            assert time.monotonic() < deadline and all(process.poll() is None for process in started)
            time.sleep(1)

    try:
        started.append(subprocess.Popen([*ray, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]))
        wait_for_status("Active:")
        # One at a time: if two nodes start at once on the same machine, one may fail.
        for count in (1, 2):
            started.append(subprocess.Popen([*ray, f"--address={address}", "--num-cpus=1"]))
            wait_for_status(f"/{count}.0 CPU")
        yield Cluster(address, started[1:])
    finally:
        # `ray stop` would stop all other clusters of this user too.
        for tree in [process_tree(process.pid) for process in started]:
            for one in tree:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        for process in started:
            process.wait(timeout=60)


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def working_in_clones(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes whose working directory is a clone of a sweep."""

    def folder(process: psutil.Process) -> str:
        with suppress(psutil.Error):
            return process.cwd()
        return ""

    return [process for process in processes if Path(folder(process)).name.startswith("sweep-")]


@pytest.mark.integration
def test_a_local_sweep_fetches_its_experiments_and_does_not_repeat_them(shared: Path) -> None:
    output = small.run(shared, "python", "-m", "stages.studies.run", "widths", "--on", "ray")
    assert "sweep: 3 experiments, 0 of them already done" in output and "0 to go" in output
    cells = json.loads((shared / "reports/studies/widths.json").read_text())["cells"]
    assert [cell["settings"]["dsm.sigma"] for cell in cells] == [0.3, 0.4, 0.6]
    assert (shared / "reports/figures/studies/widths.png").exists()
    listed = small.run(shared, "dvc", "exp", "list", "--name-only").split()
    assert len([name for name in listed if name.startswith("widths-dsm-")]) == 3
    small.run(shared, "dvc", "exp", "remove", listed[0])
    (shared / "reports/studies/runs/widths.json").unlink()
    output = small.run(shared, "python", "-m", "stages.studies.run", "widths", "--on", "ray")
    assert "sweep: 3 experiments, 2 of them already done" in output
    output = small.run(shared, "python", "-m", "stages.studies.run", "widths")
    again = json.loads((shared / "reports/studies/widths.json").read_text())["cells"]
    assert again == cells


@pytest.mark.integration
def test_the_dvc_queue_yields_the_same_study_as_local_runs(shared: Path) -> None:
    small.run(shared, "python", "-m", "stages.studies.run", "widths", "--jobs", "2")
    local = json.loads((shared / "reports/studies/runs/widths.json").read_text())["runs"]
    cells = json.loads((shared / "reports/studies/widths.json").read_text())["cells"]
    (shared / "reports/studies/runs/widths.json").unlink()
    output = small.run(shared, "python", "-m", "stages.studies.run", "widths", "--on", "queue", "--jobs", "2")
    assert output.count("is done, ") == 3
    queued = json.loads((shared / "reports/studies/runs/widths.json").read_text())["runs"]
    assert [(one["identity"], one["metrics"]) for one in queued] == [(one["identity"], one["metrics"]) for one in local]
    assert json.loads((shared / "reports/studies/widths.json").read_text())["cells"] == cells
    small.run(shared, "dvc", "queue", "stop")


@pytest.mark.integration
def test_a_killed_sweep_resumes_with_the_missing_runs(shared: Path) -> None:
    command = [sys.executable, "-m", "stages.studies.run", "widths", "--on", "ray"]
    first = small.start(shared, *command)
    line = small.until(first, "is done")
    os.killpg(first.pid, signal.SIGKILL)
    small.rest_of(first)
    assert line.endswith(" is done, 2 to go\n")
    output = small.run(shared, *command)
    # The first result is stored. A second experiment may have been fetched before all processes were killed.
    assert "widths: 2 of 3 runs to compute" in output and output.count("is done, ") == 2
    assert len(json.loads((shared / "reports/studies/widths.json").read_text())["cells"]) == 3


@pytest.mark.integration
def test_an_interrupted_sweep_leaves_no_processes_and_no_clones(shared: Path) -> None:
    before = {process.pid for process in working_in_clones(psutil.process_iter())}
    older_clones = set(Path(tempfile.gettempdir()).glob("sweep-*"))
    run = small.start(shared, sys.executable, "-m", "stages.studies.run", "widths", "--on", "ray")
    deadline = time.monotonic() + 240
    while not any("stages.mog" in " ".join(p.cmdline()) for p in working_in_clones(process_tree(run.pid))):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    rest = small.rest_of(run)
    assert run.returncode == 130 and "Traceback" not in rest, rest
    assert {process.pid for process in working_in_clones(psutil.process_iter())} <= before
    assert set(Path(tempfile.gettempdir()).glob("sweep-*")) <= older_clones


@pytest.mark.integration
def test_the_experiment_of_a_killed_node_is_retried(shared: Path, cluster: Cluster) -> None:
    run = small.start(shared, sys.executable, "-m", "stages.studies.run", "widths", "--on", "ray", "--address", cluster.address)
    deadline = time.monotonic() + 240
    while not working_in_clones(process_tree(cluster.nodes[0].pid)):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.5)
    for one in process_tree(cluster.nodes[0].pid):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    output = small.rest_of(run)
    assert run.returncode == 0, output
    assert output.count("is done") == 3 and "sweep: failed" not in output
    assert "so the task will be retried" in output  # Ray's message about the task of the node


@pytest.mark.integration
def test_an_unreachable_address_is_rejected_and_auto_starts_a_cluster(shared: Path) -> None:
    output = small.run(
        shared, "python", "-m", "stages.studies.run", "widths", "--on", "ray", "--address", "127.0.0.1:1", status=1
    )
    assert output.splitlines()[-1].startswith("error: no Ray cluster answers at 127.0.0.1:1: ") and "Traceback" not in output
    output = small.run(shared, "python", "-m", "stages.studies.run", "widths", "--on", "ray", "--address", "auto")
    assert "sweep: no Ray cluster is running, starting one on this machine" in output and "0 to go" in output


def test_a_sweep_without_ray_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is not installed: `make cluster`"):
        list(sweep([], object(), [], address=None))  # type: ignore[arg-type]


def test_an_experiment_on_the_images_trains_only_dsm_on_the_mixture() -> None:
    found = [changed_params(run) for run in all_runs(study(methods=["jepa_ema"], domain="mnist", grid={}, runs=[0, 1]))]
    assert [settings["methods"] for settings in found] == [["dsm"], ["dsm"]]
    assert all(settings["mnist.methods"] == ["jepa_ema"] for settings in found)


IMAGES = {
    "rates": {
        "domain": "mnist_reconstruct",
        "methods": ["jepa_ema"],
        "grid": {"mnist_jepa_ema.train.learning_rate": [0.001]},
        "runs": [0, 1],
        "keep": ["mse"],
    }
}


@pytest.mark.integration
def test_a_sweep_on_the_images_yields_the_same_study_as_local_runs(shared: Path) -> None:
    (shared / "studies.yaml").write_text(yaml.safe_dump(IMAGES))
    small.run(shared, "git", "commit", "--quiet", "--all", "--message=images")
    small.run(shared, "python", "-m", "stages.studies.run", "rates", "--on", "ray")
    swept = json.loads((shared / "reports/studies/rates.json").read_text())["cells"]
    assert len(swept[0]["mse"]["values"]) == 2
    (shared / "reports/studies/runs/rates.json").unlink()
    small.run(shared, "python", "-m", "stages.studies.run", "rates")
    assert json.loads((shared / "reports/studies/rates.json").read_text())["cells"] == swept


@pytest.mark.integration
def test_an_experiment_counts_as_done_only_after_its_outputs_were_pushed(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Git repository is given by a relative path, and all pushes of the first sweep to the DVC remote fail."""
    small.run(shared, "git", "clone", "--quiet", "--bare", ".", "../nodes.git")
    storage = tmp_path / "storage"
    moved = storage.rename(tmp_path / "away")
    storage.write_text("not a folder")
    command = ["python", "-m", "stages.studies.run", "widths", "--on", "ray", "--git", "../nodes.git"]
    output = small.run(shared, *command, status=1)
    assert output.splitlines()[-1].startswith("error: 3 of 3 experiments failed; run the command again to retry only those")
    storage.unlink()
    moved.rename(storage)
    output = small.run(shared, *command)
    assert "sweep: 3 experiments, 0 of them already done" in output and "0 to go" in output
    name = small.run(shared, "dvc", "exp", "list", "--name-only").split()[-1]
    # The outputs that a node computed are only in the remote.
    small.run(shared, "dvc", "exp", "apply", name, status=255)
    assert "changed outs" in small.run(shared, "dvc", "status")
    small.run(shared, "dvc", "pull")
    monkeypatch.chdir(shared)
    made = locked_stages()
    locked = {path: digest for digests in outputs(made).values() for path, digest in digests.items()}
    assert "models/mog/dsm.safetensors" in locked and "models/mog/contrastive.safetensors" not in locked
    assert locked == {path: file_md5(Path(path)) for path in locked}
    # Folders that are dependencies or outputs as a whole contain files of other methods here, which the experiment lacks.
    folders = {str(folder.relative_to(shared)) for folder in small.folders(shared)}
    status = small.run(shared, "dvc", "status")
    changed = set(re.findall(r"^\s+(?:modified|deleted|new|not in cache): +(\S+)$", status, re.MULTILINE))
    assert "changed outs" not in status and changed <= folders, status


@pytest.mark.integration
def test_a_sweep_requires_committed_files_a_remote_and_a_pushed_commit(copied: Path) -> None:
    (copied / "studies.yaml").write_text(yaml.safe_dump(STUDIES))
    output = small.run(copied, "python", "-m", "stages.studies.run", "widths", "--on", "ray", status=1)
    assert output == "widths: 3 of 3 runs to compute\nerror: studies.yaml is not committed: experiments run the last commit\n"
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=study")
    output = small.run(copied, "python", "-m", "stages.studies.run", "widths", "--on", "ray", status=1)
    assert "error: there is no DVC remote for the nodes to share" in output
    small.run(copied, "git", "clone", "--quiet", "--bare", ".", "elsewhere.git")
    small.run(copied, "dvc", "remote", "add", "--default", "shared", str(copied / "storage"))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=remote")
    output = small.run(
        copied, "python", "-m", "stages.studies.run", "widths", "--on", "ray", "--git", "elsewhere.git", status=1
    )
    message = output.splitlines()[-1]
    assert message.startswith("error: elsewhere.git does not contain the commit ") and "is it pushed?" in message


class FakeQueue:
    """A fake of DVC's queue with the given experiments and their states, and a number of workers."""

    def __init__(self, *listed: tuple[str, str], workers: int = 1) -> None:
        self.listed, self.workers = listed, workers

    def status(self) -> list[dict[str, str]]:
        return [{"name": name, "status": state} for name, state in self.listed]

    def worker_status(self) -> dict[str, list[Any]]:
        return {f"worker {number}": [] for number in range(self.workers)}


def test_an_unfinished_retry_overrides_the_failure_of_the_first_attempt() -> None:
    listed = [("a", "Running"), ("b", "Queued"), ("c", "Failed"), ("a", "Failed"), ("b", "Failed"), ("d", "Success")]
    assert experiments._states(FakeQueue(*listed)) == {"a": "Running", "b": "Queued", "c": "Failed", "d": "Success"}
    assert experiments._states(FakeQueue(*listed[::-1])) == experiments._states(FakeQueue(*listed))


def test_a_queue_without_workers_is_reported_as_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("mog", "dsm", {"dsm.sigma": 0.4})
    monkeypatch.setattr(experiments, "POLL_INTERVAL", 0)
    monkeypatch.setattr(experiments, "output", lambda *_: "")
    queue = FakeQueue((experiment("some", run), "Queued"), workers=0)
    with pytest.raises(UserError, match="some: DVC's queue was stopped, 1 runs are left; run the command again to continue"):
        list(experiments._through(queue, SimpleNamespace(names=dict), "some", [run], 1, again=False))  # type: ignore[arg-type]


def test_a_repeated_run_gets_an_unused_experiment_name() -> None:
    run = Run("mog", "dsm", {"dsm.sigma": 0.4})
    name = experiment("some", run)
    assert list(experiments.named("some", [run], [name], again=False)) == [name]
    assert list(experiments.named("some", [run], [], again=True)) == [name]
    assert list(experiments.named("some", [run], [name, f"{name}-2"], again=True)) == [f"{name}-3"]
