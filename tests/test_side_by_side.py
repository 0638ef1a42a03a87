"""`make repro`: stages side by side give the dvc.lock of a serial run, and end cleanly where a stage fails or is stopped."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import networkx as nx
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from stages.core.errors import UserError
from stages.core.paths import ROOT, cost_file
from stages.dag.graph import stage_graph
from stages.dag.schedule import Schedule, Task
from stages.pipeline.concurrent import CORES
from stages.tools import lock_order, parallel
from stages.tools import tasks as pipeline_tasks
from stages.tools.lock_order import in_order
from tests import small

NEEDS = {
    "data": [], "picture": ["data"], "views": ["data"],
    "train@a": ["data"], "evaluate@a": ["train@a", "views"],
    "train@b": ["data"], "evaluate@b": ["train@b", "views"],
    "compare": ["evaluate@a", "evaluate@b"], "track": ["compare"],
}  # fmt: skip


def tasks(needs: Mapping[str, list[str]], threads: Mapping[str, int] | None = None, **seconds: float) -> list[Task]:
    return [Task(k, frozenset(v), (threads or {}).get(k, 1), seconds.get(k, 1.0)) for k, v in needs.items()]


@dataclass
class Step:
    """What holds from one moment on: what runs then, and what of it has to yield."""

    time: float
    running: frozenset[str]
    background: frozenset[str]


def simulated(schedule: Schedule) -> Iterator[Step]:
    """The steps of a run whose stages take the seconds that were expected."""
    known = {task.name: task for task in schedule.tasks}
    ends: dict[str, float] = {}
    now = 0.0
    while not schedule.idle():
        while (name := schedule.next()) is not None:
            assert known[name].needs <= schedule.done
            ends[name] = now + known[name].seconds
        assert ends, "stages wait and none runs"
        yield Step(now, frozenset(ends), frozenset(schedule.background()))
        now = min(ends.values())
        for ended in [name for name in ends if ends[name] == now]:
            del ends[ended]
            schedule.finish(ended)
    yield Step(now, frozenset(), frozenset())


def started(schedule: Schedule) -> list[str]:
    """The stages in the order in which they start."""
    order: list[str] = []
    for step in simulated(schedule):
        order += sorted(step.running - set(order))
    return order


def test_a_stage_starts_when_what_it_needs_has_ended_and_not_before() -> None:
    steps = list(simulated(Schedule(tasks(NEEDS), 2)))
    assert [sorted(step.running) for step in steps] == [
        ["data"], ["train@a", "train@b"], ["picture", "views"], ["evaluate@a", "evaluate@b"], ["compare"], ["track"], [],
    ]  # fmt: skip


@some.composite
def pipelines(draw: Any) -> list[Task]:
    count = draw(some.integers(1, 8))
    return [
        Task(
            name=f"stage{number}",
            needs=frozenset(f"stage{needed}" for needed in range(number) if draw(some.booleans())),
            threads=draw(some.integers(1, 4)),
            seconds=draw(some.integers(1, 9)),
        )
        for number in range(count)
    ]


@given(pipelines(), some.integers(1, 5), some.booleans())
def test_every_pipeline_ends_with_all_stages_done_and_no_core_taken_twice(all_tasks: list[Task], cores: int, can: bool) -> None:
    schedule = Schedule(all_tasks, cores, yielding=can)
    share = {task.name: min(task.threads, cores) for task in all_tasks}
    for step in simulated(schedule):
        # Whatever yields takes no core from anybody.
        assert sum(share[name] for name in step.running - step.background) <= cores
        assert can or not step.background
        assert {share[name] for name in step.background} <= {1}
        # No core idles that would be enough for a stage that may start.
        ready = [task for task in schedule.waiting.values() if task.needs <= schedule.done]
        assert all(sum(share[name] for name in step.running) + share[task.name] > cores for task in ready)
    assert schedule.done == set(share) and not schedule.waiting


def test_the_longest_way_to_the_end_comes_first() -> None:
    needs: dict[str, list[str]] = {"long": [], "first": [], "second": ["first"], "short": []}
    # The two together take longer than the one, though each is shorter.
    assert started(Schedule(tasks(needs, long=8, first=5, second=5), 1)) == ["first", "long", "second", "short"]
    # Where one is as long as the other, names decide, whatever the order in which they are given.
    for seed in range(5):
        mixed = tasks(NEEDS)
        Random(seed).shuffle(mixed)
        assert Schedule(mixed, 2).order == Schedule(tasks(NEEDS), 2).order


def test_a_stage_with_several_threads_has_its_cores_for_itself() -> None:
    needs: dict[str, list[str]] = {"two": [], "too": [], "one": []}
    threads = {"two": 2, "too": 2}
    first, *_ = simulated(Schedule(tasks(needs, threads, two=3, too=2), 3))
    assert first.running == {"two", "one"} and not first.background
    first, *_ = simulated(Schedule(tasks(needs, threads, two=3, too=2), 4))
    assert first.running == {"two", "too", "one"} and first.background == {"one"}
    # More threads than there are cores are no reason never to start.
    first, *_ = simulated(Schedule(tasks({"many": []}, {"many": 64}), 2))
    assert first.running == {"many"}


def test_a_stage_with_one_thread_runs_in_the_background_of_one_that_needs_all_cores() -> None:
    needs: dict[str, list[str]] = {"two": [], "a": [], "b": []}
    all_tasks = tasks(needs, {"two": 2}, a=4, two=2)
    schedule = Schedule(all_tasks, 2)
    # As soon as the other has ended it is in nobody's way.
    assert [(sorted(step.running), sorted(step.background)) for step in simulated(schedule)] == [
        (["a", "two"], ["a"]), (["a", "b"], []), (["a"], []), ([], []),
    ]  # fmt: skip
    # Where no priority lies below all others, they take turns.
    ran = [sorted(step.running) for step in simulated(Schedule(all_tasks, 2, yielding=False))]
    assert ran == [["a", "b"], ["a"], ["two"], []]


def test_on_one_core_stages_run_one_at_a_time() -> None:
    for threads in (1, 2):
        steps = list(simulated(Schedule(tasks(NEEDS, dict.fromkeys(NEEDS, threads)), 1)))
        assert [len(step.running) for step in steps] == [*len(NEEDS) * [1], 0]


def test_a_stage_is_alone_where_no_other_runs_or_could() -> None:
    schedule = Schedule(tasks({"a": [], "b": [], "c": ["a", "b"]}), 1)
    assert not schedule.alone() and not schedule.idle()
    assert schedule.next() == "a" and schedule.next() is None
    # The other one waits for a core alone.
    assert not schedule.alone()
    schedule.finish("a")
    assert schedule.next() == "b" and schedule.alone() and not schedule.last()
    schedule.finish("b")
    assert not schedule.idle() and schedule.next() == "c" and schedule.alone() and schedule.last() and not schedule.idle()
    schedule.finish("c")
    assert schedule.idle() and not schedule.alone() and schedule.next() is None


class Stage:
    """A stage as DVC has it, as far as its place in the schedule follows from it."""

    def __init__(self, name: str, *params: str) -> None:
        self.addressing = name
        # A dependency on a file has no params.
        self.deps = [object(), SimpleNamespace(params=params)]


def test_a_stage_takes_the_threads_of_the_params_and_the_seconds_of_its_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"threads": 3, "processes": 2}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
    monkeypatch.chdir(tmp_path)
    data, train, both, new = Stage("data"), Stage("train@a", "threads"), Stage("both@a", "threads", "processes"), Stage("x")
    graph = nx.DiGraph([(train, data), (both, data), (both, train)])
    graph.add_node(new)
    costs = {data: '{"cpu_seconds": 9}', train: '{"cpu_seconds": 12, "memory_mb": 1}', both: '{"seconds": 1}'}
    for stage, content in costs.items():
        path = cost_file(stage.addressing)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = {task.name: task for task in pipeline_tasks.tasks(graph)}
    assert {name: (task.threads, task.needs) for name, task in found.items()} == {
        "data": (1, frozenset()), "train@a": (3, {"data"}), "both@a": (6, {"data", "train@a"}), "x": (1, frozenset()),
    }  # fmt: skip
    # What computes on several cores takes that much less time. One that never ran, or did not say, is like the others.
    assert {name: task.seconds for name, task in found.items()} == {"data": 9, "train@a": 4, "both@a": 10.5 / 6, "x": 10.5}


def test_what_looks_at_the_whole_lock_comes_after_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = stage_graph()
    assert nx.descendants(stages, "track") == set(stages) - {"track"}


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
    lock_order.put_in_order("", ["a", "b"])
    assert Path("dvc.lock").read_text() == left
    Path("dvc.lock").write_text(lock("b", "a"))
    lock_order.put_in_order("", ["a", "b"])
    assert Path("dvc.lock").read_text() == lock("a", "b")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of DVC without stages."""
    folder = tmp_path_factory.mktemp("project")
    small.run(folder, "git", "init", "--quiet")
    small.run(folder, "dvc", "init", "--quiet")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    return folder


@pytest.fixture
def project(empty: Path, tmp_path: Path) -> Path:
    """The same for one test."""
    return shutil.copytree(empty, tmp_path / "project")


def reproduce(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run the command in a project that has no code of its own, and return what it printed."""
    return small.reproduce(folder, *arguments, status=status, PYTHONPATH=str(ROOT))


def write(folder: Path, stages: Mapping[str, tuple[str, list[str]]], **more: Mapping[str, Any]) -> None:
    """Write a dvc.yaml of stages that each run a command and write a file of their own name, by the names that they need."""
    entries = {
        name: {"cmd": command, "deps": [f"{need}.txt" for need in needs], "outs": [f"{name}.txt"], **more.get(name, {})}
        for name, (command, needs) in stages.items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": entries}, sort_keys=False))


def test_the_lock_is_that_of_a_serial_run_whatever_the_number_of_jobs(project: Path, tmp_path: Path) -> None:
    names = {name: name.replace("@", "_") for name in NEEDS}
    ends_later = {"data": 0.0, "train_a": 0.6, "views": 0.3, "picture": 0.5}
    write(
        project,
        {
            name: (f"sleep {ends_later.get(name, 0)}; echo {name} > {name}.txt", [names[need] for need in NEEDS[full]])
            for full, name in reversed(names.items())
        },
    )
    locks = {}
    for jobs in ("serial", "1", "8"):
        folder = shutil.copytree(project, tmp_path / jobs)
        said = small.run(folder, "dvc", "repro") if jobs == "serial" else reproduce(folder, jobs)
        assert set(small.stages_run(said)) == set(names.values())
        locks[jobs] = (folder / "dvc.lock").read_text()
    assert len(set(locks.values())) == 1
    assert "up to date" in small.run(folder, "dvc", "status")
    said = reproduce(folder, "2")
    assert said.endswith("Data and pipelines are up to date.\n") and not small.stages_run(said)


def test_what_is_known_already_is_not_run_again_unless_one_asks_for_it(project: Path) -> None:
    write(project, {"a": ("echo $(cat of) > a.txt", []), "b": ("cat a.txt > b.txt", ["a"])}, a={"deps": ["of"]})
    for content in ("1", "2"):
        (project / "of").write_text(content)
        assert small.stages_run(reproduce(project, "2")) == ["a", "b"]
    (project / "of").write_text("1")
    said = reproduce(project, "2")
    assert "Stage 'a' is cached - skipping run, checking out outputs" in said and not small.stages_run(said)
    assert (project / "b.txt").read_text() == "1\n" and "up to date" in small.run(project, "dvc", "status")
    (project / "of").write_text("2")
    assert small.stages_run(reproduce(project, "2", "--no-run-cache")) == ["a", "b"]
    assert "Stage 'b' didn't change, skipping" in reproduce(project, "2")
    assert small.stages_run(reproduce(project, "2", "--force")) == ["a", "b"]


def test_a_stage_may_use_all_cores_where_it_runs_alone_and_one_where_it_does_not(project: Path) -> None:
    said = f"echo ${CORES}"
    write(project, {"a": (f"{said} > a.txt", []), "b": (f"{said} > b.txt", []), "c": (f"{said} > c.txt", ["a", "b"])})
    reproduce(project, "3")
    assert [(project / f"{name}.txt").read_text() for name in "abc"] == ["1\n", "1\n", "3\n"]


@pytest.mark.skipif(not parallel.YIELDING, reason="this system has no priority below all others")
@pytest.mark.parametrize(("jobs", "yields"), [("2", True), ("3", False)])
def test_what_runs_in_the_background_yields_to_all_others(project: Path, jobs: str, yields: bool) -> None:
    """The long stage goes on until the other has seen the priority that it waits for, or has waited in vain for another."""
    (project / "look.py").write_text(
        f"""import os, time
until = time.monotonic() + {60 if yields else 2}
while not (seen := os.sched_getscheduler(0) == os.SCHED_IDLE) and time.monotonic() < until:
    time.sleep(.05)
print(seen)
"""
    )
    wait = "until test -s one.txt; do sleep .1; done; echo > two.txt"
    write(
        project,
        {"two": (wait, []), "one": (f"{sys.executable} look.py > one.tmp; mv one.tmp one.txt", [])},
        two={"params": ["threads"]},
    )
    small.change_params(project, {"threads": 2})
    reproduce(project, jobs)
    assert (project / "one.txt").read_text() == f"{yields}\n"


def test_a_stage_that_fails_stops_the_others_and_what_needs_it_does_not_run(project: Path) -> None:
    stages = {
        "good": ("echo > good.txt", []),
        "bad": ("sleep 1; echo no reason; exit 3", []),
        "long": ("sleep 600; echo > long.txt", []),
        "later": ("echo > later.txt", ["bad"]),
        "last": ("echo > last.txt", ["later", "long"]),
    }
    write(project, stages)
    began = time.monotonic()
    said = reproduce(project, "3", status=1)
    assert time.monotonic() - began < 60
    assert "[bad] no reason" in said and set(small.stages_run(said)) == {"good", "bad", "long"}
    last = said.strip().splitlines()[-1]
    assert last == "error: bad failed; finished stages are kept, and `make repro` continues from there"
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == {"good"}
    assert not small.running(project)
    write(project, stages | {"bad": ("echo > bad.txt", []), "long": ("echo > long.txt", [])})
    assert set(small.stages_run(reproduce(project, "3"))) == {"bad", "long", "later", "last"}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_that_runs_and_keeps_what_has_ended(project: Path, ending: signal.Signals) -> None:
    deep = "(sleep 600; true); echo >"
    write(
        project,
        {
            "good": ("echo > good.txt", []),
            "a": (f"echo begun; {deep} a.txt", ["good"]),
            "b": (f"echo begun; {deep} b.txt", ["good"]),
            "c": ("echo > c.txt", ["a", "b"]),
        },
    )
    jobs = small.start(project, *small.PARALLEL, "2", PYTHONPATH=str(ROOT))
    small.until(jobs, "[a] begun", "[b] begun")
    # A shell that is just starting what it waits for may miss an interrupt.
    time.sleep(1)
    jobs.send_signal(ending)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130, rest
    assert "stopping the running stages" in rest and "Traceback" not in rest and "Running stage 'c'" not in rest
    assert not small.running(project)
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == {"good"}


def test_whoever_asks_again_stops_what_does_not_end_by_itself(project: Path) -> None:
    write(project, {"deaf": ("trap '' INT TERM; echo begun; sleep 600; echo > deaf.txt", [])})
    jobs = small.start(project, *small.PARALLEL, "2", PYTHONPATH=str(ROOT))
    small.until(jobs, "[deaf] begun")
    jobs.send_signal(signal.SIGINT)
    small.until(jobs, "stopping the running stages")
    jobs.send_signal(signal.SIGINT)
    time.sleep(0.5)
    jobs.send_signal(signal.SIGINT)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130 and "Traceback" not in rest, rest
    assert not small.running(project) and not (project / "dvc.lock").exists()


def test_what_did_not_hear_that_it_has_to_end_is_told_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, {"deaf": ("trap '' INT; sleep 600 & wait; sleep 600; echo > deaf.txt", []), "bad": ("sleep 1; exit 3", [])})
    monkeypatch.setattr(parallel, "PATIENCE", 0.2)
    with chdir(project), pytest.raises(UserError, match="bad failed"):
        parallel.main(["2"])
    assert not small.running(project)


def test_it_ends_where_nobody_reads_what_it_says(project: Path) -> None:
    write(project, {"a": ("echo begun; sleep 2; echo ended; echo > a.txt", []), "b": ("echo > b.txt", ["a"])})
    jobs = small.start(project, *small.PARALLEL, "2", PYTHONPATH=str(ROOT))
    small.until(jobs, "[a] begun")
    assert jobs.stdout
    jobs.stdout.close()
    assert jobs.wait(60) == 1
    assert not small.running(project) and not (project / "b.txt").exists()


def test_what_a_killed_run_had_finished_is_not_run_again(project: Path) -> None:
    names = [f"stage{number}" for number in range(5)]
    needs = [[], *([name] for name in names)]
    write(project, {name: (f"echo > {name}.txt", need) for name, need in zip(names, needs, strict=False)} | {"end": LONG})
    jobs = small.start(project, *small.PARALLEL, "2", PYTHONPATH=str(ROOT))
    small.until(jobs, "[end] begun")
    small.kill(project, jobs)
    write(project, {name: (f"echo > {name}.txt", need) for name, need in zip(names, needs, strict=False)})
    assert not small.stages_run(reproduce(project, "2"))
    assert list(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == names


LONG = ("echo begun; sleep 600", ["stage4"])


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
    output = small.reproduce(copied, "2")
    assert {f"mog_train@{m}" for m in CHANGED} <= ran == set(small.stages_run(output))
    # Both have begun before one of them has ended.
    begins = [output.index(f"Running stage 'mog_train@{m}'") for m in CHANGED]
    ends = [output.rindex(f"[mog_train@{m}] ") for m in CHANGED]
    assert max(begins) < min(ends)
    assert (copied / "dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()
    assert "up to date" in small.run(copied, "dvc", "status")


@pytest.mark.integration
def test_a_stage_that_fails_is_named_and_nothing_is_left_running(copied: Path) -> None:
    small.change_params(copied, {"dsm": {"train": {"learning_rate": 1e30}}, "contrastive": {"train": {"steps": 200000}}})
    output = small.reproduce(copied, "2", status=1)
    assert "error: dsm: the loss is not finite at step" in output
    last = output.strip().splitlines()[-1]
    assert last == "error: mog_train@dsm failed; finished stages are kept, and `make repro` continues from there"
    assert not small.running(copied)
    small.change_params(copied, {"dsm": {"train": {"learning_rate": 0.004}}, "contrastive": {"train": {"steps": 30}}})
    small.run(copied, "dvc", "repro")


@pytest.mark.integration
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_from_outside_nothing_is_left_running(copied: Path, ending: signal.Signals) -> None:
    long = {"train": {"steps": 200000}}
    small.change_params(copied, {"dsm": long, "contrastive": long})
    jobs = small.start(copied, *small.PARALLEL, "2")
    small.until(jobs, "contrastive: step", "dsm: step")
    jobs.send_signal(ending)
    # Whoever sees nothing else happen presses again.
    small.until(jobs, "stopping the running stages")
    jobs.send_signal(ending)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130, rest
    assert "Traceback" not in rest
    assert not small.running(copied)
    small.change_params(copied, {name: {"train": {"steps": 30}} for name in ("dsm", "contrastive")})
    small.run(copied, "dvc", "repro")


SLOW_STAGES = {"mnist_baseline": "stages/mnist/baseline.py", "compare": "stages/compare.py"}
"""A stage that others run beside, and one that waits for all methods."""


@pytest.mark.integration
@pytest.mark.parametrize("stage", SLOW_STAGES)
def test_stopped_in_a_stage_without_a_method_nothing_is_left_running_either(copied: Path, stage: str) -> None:
    path = copied / SLOW_STAGES[stage]
    before = path.read_text()
    path.write_text(re.sub(r"(?m)^    runner\.run\(main.*$", "    __import__('time').sleep(600)", before))
    assert "sleep(600)" in path.read_text()
    jobs = small.start(copied, *small.PARALLEL, "2")
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
    [("stages/mog/figures.py", r"mog_figures@(dsm|contrastive)"), ("stages/mnist/figures.py", "mnist_figures")],
)
def test_a_stage_that_lacks_what_it_needs_is_named(copied: Path, missing: str, stage: str) -> None:
    (copied / missing).unlink()
    output = small.reproduce(copied, "2", status=1)
    assert re.match(f"error: {stage} failed", output.strip().splitlines()[-1]), output[-2000:]


def test_a_pipeline_that_is_none_is_one_line(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: [1]\n")
    output = reproduce(project, "2", status=1)
    assert output.startswith("error: ") and output.count("\n") == 1 and "dvc.yaml" in output


@pytest.mark.parametrize("jobs", ["0", "many", "-1"])
def test_a_number_of_jobs_that_is_none_is_one_line(jobs: str) -> None:
    output = small.reproduce(Path.cwd(), jobs, status=1)
    assert output == f"error: JOBS: {jobs!r} is not accepted: expected a whole number above 0\n"
