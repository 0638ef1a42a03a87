"""Sweeps over Ray: what is run, what is skipped, and that the death of a node costs a retry and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml

from stages.cells import Study
from stages.sweep import experiments, override
from tests import small


def study(**changes: object) -> Study:
    return Study.model_validate({"methods": ["dsm"], "grid": {"dsm.sigma": [0.3, 0.5]}, "keep": ["heldout_loss"], **changes})


def test_an_experiment_is_a_cell_with_a_seed_and_its_name_follows_its_params() -> None:
    found = list(experiments("some_study", study(runs=[0, 7])))
    assert [settings for _, _, settings in found] == [
        {"dsm.sigma": sigma, "seed": seed, "methods": ["dsm"]} for sigma in (0.3, 0.5) for seed in (0, 7)
    ]
    names = [name for name, _, _ in found]
    assert len(set(names)) == 4 and all(name.startswith("some-study-dsm-") for name in names)
    assert names == [name for name, _, _ in experiments("some_study", study(runs=[0, 7]))]


def test_params_are_written_as_dvc_reads_them() -> None:
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
def test_values_of_every_kind_reach_dvc_as_they_are(value: object, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("key: 0\n")
    apply_overrides(path, override({"key": value})[1::2])
    assert load_yaml(path) == {"key": value}


HEAD = "127.0.0.1:6399"
STUDIES = {"widths": {"methods": ["dsm"], "grid": {"dsm.sigma": [0.3, 0.4, 0.6]}, "keep": ["score.relative_fisher_error"]}}


@pytest.fixture
def shared(copied: Path, tmp_path: Path) -> Path:
    """The small clone with a DVC remote and a study, all committed and pushed."""
    (copied / "studies.yaml").write_text(yaml.safe_dump(STUDIES))
    small.run(copied, "dvc", "remote", "add", "--default", "shared", str(tmp_path / "storage"))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=study")
    small.run(copied, "dvc", "push", "--run-cache")
    return copied


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A Ray cluster: a head, which runs nothing, and two nodes with one CPU each."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "known to all nodes of this test " * 2)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]

    def until_there(text: str) -> None:
        deadline = time.monotonic() + 240
        while text not in subprocess.run([ray[0], "status", f"--address={HEAD}"], capture_output=True, text=True).stdout:
            assert time.monotonic() < deadline
            time.sleep(1)

    started = [subprocess.Popen([*ray, "--head", "--port=6399", "--num-cpus=0", "--include-dashboard=false"])]
    until_there("Active:")
    started += [subprocess.Popen([*ray, f"--address={HEAD}", "--num-cpus=1"]) for _ in range(2)]
    until_there("/2.0 CPU")
    yield started
    subprocess.run([ray[0], "stop", "--force"], capture_output=True, check=False)
    for process in started:
        process.wait(timeout=60)


@pytest.mark.integration
def test_a_sweep_on_one_machine_brings_experiments_home_and_does_not_repeat_them(shared: Path) -> None:
    output = small.run(shared, "python", "-m", "stages.sweep", "widths")
    assert "sweep: 3 experiments, 0 of them here already" in output and "0 to go" in output
    cells = json.loads((shared / "reports/studies/widths.json").read_text())["cells"]
    assert [cell["settings"]["dsm.sigma"] for cell in cells] == [0.3, 0.4, 0.6]
    assert (shared / "reports/figures/studies/widths.png").exists()
    listed = small.run(shared, "dvc", "exp", "list", "--name-only").split()
    assert len([name for name in listed if name.startswith("widths-dsm-")]) == 3
    small.run(shared, "dvc", "exp", "remove", listed[0])
    output = small.run(shared, "python", "-m", "stages.sweep", "widths")
    assert "sweep: 3 experiments, 2 of them here already" in output
    output = small.run(shared, "python", "-m", "stages.study", "widths")
    again = json.loads((shared / "reports/studies/widths.json").read_text())["cells"]
    assert again == cells


@pytest.mark.integration
def test_a_sweep_that_is_killed_and_started_again_does_what_is_missing(shared: Path) -> None:
    command = [sys.executable, "-m", "stages.sweep", "widths"]
    sweep = small.start(shared, *command)
    line = small.until(sweep, "is here")
    os.killpg(sweep.pid, signal.SIGKILL)
    small.rest_of(sweep)
    assert line.endswith(" is here, 2 to go\n")
    output = small.run(shared, *command)
    there = int(output.split("3 experiments, ")[1].split()[0])
    assert 1 <= there < 3 and output.count("is here, ") == 3 - there
    assert len(json.loads((shared / "reports/studies/widths.json").read_text())["cells"]) == 3


@pytest.mark.integration
def test_a_node_that_dies_costs_its_experiment_a_retry(shared: Path, nodes: list[subprocess.Popen[bytes]]) -> None:
    sweep = subprocess.Popen(
        [sys.executable, "-m", "stages.sweep", "widths", "--address", HEAD],
        cwd=shared,
        env=small.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(25)
    nodes[1].kill()
    subprocess.run(["pkill", "--signal", "KILL", "--parent", str(nodes[1].pid)], check=False)
    output, _ = sweep.communicate(timeout=900)
    assert sweep.returncode == 0, output
    assert output.count("is here") == 3 and "sweep: failed" not in output
    assert "so the task will be retried" in output  # Ray says so of the task that ran on the node


@pytest.mark.integration
def test_what_is_not_committed_or_has_no_remote_is_one_line(copied: Path) -> None:
    (copied / "studies.yaml").write_text(yaml.safe_dump(STUDIES))
    output = small.run(copied, "python", "-m", "stages.sweep", "widths", status=1)
    assert output == "error: studies.yaml is not committed: every node clones the last commit\n"
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=study")
    output = small.run(copied, "python", "-m", "stages.sweep", "widths", status=1)
    assert output.startswith("error: there is no DVC remote for the nodes to share")
