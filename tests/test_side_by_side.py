"""`make repro JOBS=N`: the same dvc.lock as a serial run, and a clean end where a stage fails."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from pathlib import Path

import networkx as nx
import pytest
import yaml

from stages import side_by_side
from stages.errors import UserError
from stages.imports import ROOT
from stages.side_by_side import chains, in_order, longest_first
from tests import small

GRAPH = nx.DiGraph(
    [
        ("train@a", "data"), ("evaluate@a", "train@a"), ("evaluate@a", "views"), ("views", "data"),
        ("train@b", "data"), ("evaluate@b", "train@b"), ("evaluate@b", "views"),
        ("compare", "evaluate@a"), ("compare", "evaluate@b"), ("track", "compare"), ("picture", "data"),
    ]
)  # fmt: skip


def test_what_belongs_to_a_method_is_a_chain_between_what_is_shared_and_what_joins() -> None:
    shared, parts, order = chains(GRAPH)
    assert set(shared) == {"data", "views"} and shared.index("data") < shared.index("views")
    assert sorted(parts) == [["train@a", "evaluate@a"], ["train@b", "evaluate@b"]]
    assert set(order) == set(GRAPH)
    for name, needed in GRAPH.edges:
        assert order.index(needed) < order.index(name)


def test_a_stage_that_joins_methods_and_comes_before_others_is_refused() -> None:
    with pytest.raises(UserError, match="compare joins methods and comes before others"):
        chains(nx.DiGraph([*GRAPH.edges, ("figures@a", "compare")]))


def test_the_longest_chain_starts_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.runtime.COSTS", tmp_path)
    (tmp_path / "train.b.json").write_text('{"seconds": 9}')
    (tmp_path / "train.a.json").write_text('{"seconds": 2}')
    (tmp_path / "evaluate.a.json").write_text('{"seconds": 3}')
    parts = [["train@new"], ["train@a", "evaluate@a"], ["train@b", "evaluate@b"]]
    assert longest_first(parts) == [parts[2], parts[1], parts[0]]


def lock(*names: str) -> str:
    return "schema: '2.0'\nstages:\n" + "".join(f"  {name}:\n    cmd: {name}\n    outs:\n    - path: x\n" for name in names)


def test_new_entries_come_in_the_order_of_a_serial_run_behind_the_old_ones() -> None:
    order = ["a", "b@x", "b@y", "c"]
    assert in_order(lock("c", "b@y", "a", "b@x"), "", order) == lock("a", "b@x", "b@y", "c")
    assert in_order(lock("c", "a", "b@y", "b@x"), lock("c", "gone", "a"), order) == lock("c", "a", "b@x", "b@y")
    assert in_order(lock("c", "a"), lock("c", "a"), order) == lock("c", "a")


@pytest.mark.parametrize("left", ["", "schema: '2.0'\nstages:\n  b:\n    cmd: b\n  a", lock("b", "a")[:-3]])
def test_a_lock_that_was_cut_off_stays_as_it_is(left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text(left)
    side_by_side._put_in_order("", ["a", "b"])
    assert Path("dvc.lock").read_text() == left
    Path("dvc.lock").write_text(lock("b", "a"))
    side_by_side._put_in_order("", ["a", "b"])
    assert Path("dvc.lock").read_text() == lock("a", "b")


CHANGED = {"dsm": {"sigma": 0.4}, "contrastive": {"temperature": 0.3}}


@pytest.mark.integration
def test_methods_side_by_side_give_the_lock_of_a_serial_run(reproduced: Path, copied: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(reproduced, other, symlinks=True)
    for folder in (copied, other):
        small.change_params(folder, CHANGED)
        # As on a first run for these two: their entries are new, and their outputs are not there.
        entries = yaml.safe_load((folder / "dvc.lock").read_text())
        for name in [name for name in entries["stages"] if name.endswith(("mog_train@dsm", "mog_train@contrastive"))]:
            del entries["stages"][name]
        (folder / "dvc.lock").write_text(yaml.safe_dump(entries, sort_keys=False))
    ran = set(small.stages_run(small.run(other, "dvc", "repro")))
    output = small.run(copied, "python", "-m", "stages.side_by_side", "2")
    assert {f"mog_train@{m}" for m in CHANGED} <= ran
    assert all(f"[mog@{m}] Running stage 'mog_train@{m}'" in output for m in CHANGED)
    assert (copied / "dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()
    assert "up to date" in small.run(copied, "dvc", "status")


@pytest.mark.integration
def test_a_stage_that_fails_is_named_and_nothing_is_left_running(copied: Path) -> None:
    small.change_params(copied, {"dsm": {"train": {"learning_rate": 1e30}}, "contrastive": {"train": {"steps": 200000}}})
    output = small.run(copied, "python", "-m", "stages.side_by_side", "2", status=1)
    assert "error: dsm: the loss is not finite at step" in output
    last = output.strip().splitlines()[-1]
    assert last == "error: mog_train@dsm failed; what was finished is kept, and `make repro` goes on from there"
    assert not small.running(copied)
    small.change_params(copied, {"dsm": {"train": {"learning_rate": 0.004}}, "contrastive": {"train": {"steps": 30}}})
    small.run(copied, "dvc", "repro")


@pytest.mark.integration
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_from_outside_nothing_is_left_running(copied: Path, ending: signal.Signals) -> None:
    long = {"train": {"steps": 200000}}
    small.change_params(copied, {"dsm": long, "contrastive": long})
    jobs = small.start(copied, sys.executable, "-m", "stages.side_by_side", "2")
    small.until(jobs, "contrastive: step", "dsm: step")
    jobs.send_signal(ending)
    # Whoever sees nothing happen presses again.
    time.sleep(0.2)
    jobs.send_signal(ending)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130, rest
    assert "Traceback" not in rest
    assert not small.running(copied)
    small.change_params(copied, {name: {"train": {"steps": 30}} for name in ("dsm", "contrastive")})
    small.run(copied, "dvc", "repro")


SLOW_STAGES = {"mnist_baseline": "stages/mnist/baseline.py", "compare": "stages/compare.py"}
"""A stage that comes before the chains, and one that joins them."""


@pytest.mark.integration
@pytest.mark.parametrize("stage", SLOW_STAGES)
def test_stopped_outside_of_the_chains_nothing_is_left_running_either(copied: Path, stage: str) -> None:
    path = copied / SLOW_STAGES[stage]
    before = path.read_text()
    path.write_text(before.replace("runtime.run(main)", "__import__('time').sleep(600)"))
    jobs = small.start(copied, sys.executable, "-m", "stages.side_by_side", "2")
    small.until(jobs, f"Running stage '{stage}'")
    time.sleep(3)
    jobs.send_signal(signal.SIGTERM)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130 and "Traceback" not in rest, rest
    assert not small.running(copied)
    path.write_text(before)
    small.run(copied, "dvc", "repro")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("missing", "stage"),
    [("stages/mog/figures.py", r"mog_figures@(dsm|contrastive)"), ("stages/mnist/contact.py", "mnist_contact")],
)
def test_a_stage_that_lacks_what_it_needs_is_named(copied: Path, missing: str, stage: str) -> None:
    (copied / missing).unlink()
    output = small.run(copied, "python", "-m", "stages.side_by_side", "2", status=1)
    assert re.match(f"error: {stage} failed; ", output.strip().splitlines()[-1]), output[-2000:]


def test_a_pipeline_that_is_none_is_one_line(tmp_path: Path) -> None:
    small.run(tmp_path, "git", "init", "--quiet")
    small.run(tmp_path, "dvc", "init", "--quiet")
    (tmp_path / "dvc.yaml").write_text("stages: [1]\n")
    output = small.run(tmp_path, "python", "-m", "stages.side_by_side", "2", status=1, PYTHONPATH=str(ROOT))
    assert output.startswith("error: ") and output.count("\n") == 1 and "dvc.yaml" in output


@pytest.mark.parametrize("jobs", ["0", "many", "-1"])
def test_a_number_of_jobs_that_is_none_is_one_line(jobs: str) -> None:
    output = small.run(Path.cwd(), "python", "-m", "stages.side_by_side", jobs, status=1)
    assert output == f"error: JOBS: {jobs!r} is not accepted: expected a whole number above 0\n"
