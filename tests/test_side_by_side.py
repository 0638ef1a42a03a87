"""`make repro`: parallel stages give the dvc.lock of a serial run, and stop cleanly on a failure or a signal."""

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
    """Tasks with the given dependencies; by default with one thread and a run time of one second."""
    return [Task(k, frozenset(v), (threads or {}).get(k, 1), seconds.get(k, 1.0)) for k, v in needs.items()]


@dataclass
class Step:
    """The state of a simulated run from `time` to the next step: the running stages, and those in the background."""

    time: float
    running: frozenset[str]
    background: frozenset[str]


def simulated(schedule: Schedule) -> Iterator[Step]:
    """The steps of a run in which every stage takes its expected time."""
    known = {task.name: task for task in schedule.tasks}
    ends: dict[str, float] = {}
    now = 0.0
    while not schedule.idle():
        while (name := schedule.next()) is not None:
            assert known[name].needs <= schedule.done
            ends[name] = now + known[name].seconds
        assert ends, "stages are waiting and none is running"
        yield Step(now, frozenset(ends), frozenset(schedule.background()))
        now = min(ends.values())
        for finished in [name for name in ends if ends[name] == now]:
            del ends[finished]
            schedule.finish(finished)
    yield Step(now, frozenset(), frozenset())


def started(schedule: Schedule) -> list[str]:
    """The stages in the order in which they start."""
    order: list[str] = []
    for step in simulated(schedule):
        order += sorted(step.running - set(order))
    return order


def test_a_stage_starts_once_its_dependencies_are_done() -> None:
    steps = list(simulated(Schedule(tasks(NEEDS), 2)))
    assert [sorted(step.running) for step in steps] == [
        ["data"], ["train@a", "train@b"], ["picture", "views"], ["evaluate@a", "evaluate@b"], ["compare"], ["track"], [],
    ]  # fmt: skip


@some.composite
def pipelines(draw: Any) -> list[Task]:
    """Acyclic pipelines of up to eight stages."""
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
def test_every_schedule_runs_all_stages_and_neither_overcommits_nor_idles_cores(
    all_tasks: list[Task], cores: int, yielding: bool
) -> None:
    schedule = Schedule(all_tasks, cores, yielding=yielding)
    share = {task.name: min(task.threads, cores) for task in all_tasks}
    for step in simulated(schedule):
        # Background stages take only the time that the others leave idle.
        assert sum(share[name] for name in step.running - step.background) <= cores
        assert yielding or not step.background
        assert {share[name] for name in step.background} <= {1}
        # No ready stage would fit on the idle cores.
        ready = [task for task in schedule.waiting.values() if task.needs <= schedule.done]
        assert all(sum(share[name] for name in step.running) + share[task.name] > cores for task in ready)
    assert schedule.done == set(share) and not schedule.waiting


def test_the_stage_with_the_longest_remaining_path_starts_first() -> None:
    needs: dict[str, list[str]] = {"long": [], "first": [], "second": ["first"], "short": []}
    # `first` and `second` together take longer than `long`, though each is shorter.
    assert started(Schedule(tasks(needs, long=8, first=5, second=5), 1)) == ["first", "long", "second", "short"]
    # Names break ties, so the order of the tasks has no effect.
    for seed in range(5):
        shuffled = tasks(NEEDS)
        Random(seed).shuffle(shuffled)
        assert Schedule(shuffled, 2).order == Schedule(tasks(NEEDS), 2).order


def test_a_multi_threaded_stage_gets_exclusive_cores() -> None:
    needs: dict[str, list[str]] = {"two": [], "too": [], "one": []}
    threads = {"two": 2, "too": 2}
    first, *_ = simulated(Schedule(tasks(needs, threads, two=3, too=2), 3))
    assert first.running == {"two", "one"} and not first.background
    first, *_ = simulated(Schedule(tasks(needs, threads, two=3, too=2), 4))
    assert first.running == {"two", "too", "one"} and first.background == {"one"}
    # A stage with more threads than there are cores can start nevertheless.
    first, *_ = simulated(Schedule(tasks({"many": []}, {"many": 64}), 2))
    assert first.running == {"many"}


def test_a_single_threaded_stage_yields_to_a_multi_threaded_one() -> None:
    needs: dict[str, list[str]] = {"two": [], "a": [], "b": []}
    all_tasks = tasks(needs, {"two": 2}, a=4, two=2)
    schedule = Schedule(all_tasks, 2)
    # Once the multi-threaded stage has finished, the other one leaves the background.
    assert [(sorted(step.running), sorted(step.background)) for step in simulated(schedule)] == [
        (["a", "two"], ["a"]), (["a", "b"], []), (["a"], []), ([], []),
    ]  # fmt: skip
    # Without a lowest priority, the stages take turns.
    running = [sorted(step.running) for step in simulated(Schedule(all_tasks, 2, yielding=False))]
    assert running == [["a", "b"], ["a"], ["two"], []]


def test_on_one_core_stages_run_one_at_a_time() -> None:
    for threads in (1, 2):
        steps = list(simulated(Schedule(tasks(NEEDS, dict.fromkeys(NEEDS, threads)), 1)))
        assert [len(step.running) for step in steps] == [*len(NEEDS) * [1], 0]


def test_a_stage_is_alone_if_no_other_is_running_or_ready() -> None:
    schedule = Schedule(tasks({"a": [], "b": [], "c": ["a", "b"]}), 1)
    assert not schedule.alone() and not schedule.idle()
    assert schedule.next() == "a" and schedule.next() is None
    # `b` is ready and only waits for a core.
    assert not schedule.alone()
    schedule.finish("a")
    assert schedule.next() == "b" and schedule.alone() and not schedule.last()
    schedule.finish("b")
    assert not schedule.idle() and schedule.next() == "c" and schedule.alone() and schedule.last() and not schedule.idle()
    schedule.finish("c")
    assert schedule.idle() and not schedule.alone() and schedule.next() is None


class Stage:
    """The attributes of DVC's stages from which tasks are made."""

    def __init__(self, name: str, *params: str) -> None:
        self.addressing = name
        # A dependency on a file has no params.
        self.deps = [object(), SimpleNamespace(params=params)]


def test_tasks_have_the_configured_threads_and_the_last_recorded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    # The time is the CPU time per thread. A stage without a recorded CPU time takes the mean of the others.
    assert {name: task.seconds for name, task in found.items()} == {"data": 9, "train@a": 4, "both@a": 10.5 / 6, "x": 10.5}


def test_the_stage_that_reads_the_whole_lock_depends_on_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = stage_graph()
    assert nx.descendants(stages, "track") == set(stages) - {"track"}


def lock(*names: str) -> str:
    """The text of a dvc.lock with entries of these stages in this order."""
    return "schema: '2.0'\nstages:\n" + "".join(f"  {name}:\n    cmd: {name}\n    outs:\n    - path: x\n" for name in names)


def test_new_lock_entries_follow_the_old_ones_in_serial_order() -> None:
    order = ["a", "b@x", "b@y", "c"]
    assert in_order(lock("c", "b@y", "a", "b@x"), "", order) == lock("a", "b@x", "b@y", "c")
    assert in_order(lock("c", "a", "b@y", "b@x"), lock("c", "gone", "a"), order) == lock("c", "a", "b@x", "b@y")
    assert in_order(lock("c", "a"), lock("c", "a"), order) == lock("c", "a")


@pytest.mark.parametrize("text", ["", "schema: '2.0'\nstages:\n  b:\n    cmd: b\n  a", lock("b", "a")[:-3]])
def test_a_truncated_lock_file_is_left_untouched(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text(text)
    lock_order.put_in_order("", ["a", "b"])
    assert Path("dvc.lock").read_text() == text
    Path("dvc.lock").write_text(lock("b", "a"))
    lock_order.put_in_order("", ["a", "b"])
    assert Path("dvc.lock").read_text() == lock("a", "b")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project without stages."""
    folder = tmp_path_factory.mktemp("project")
    small.run(folder, "git", "init", "--quiet")
    small.run(folder, "dvc", "init", "--quiet")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    return folder


@pytest.fixture
def project(empty: Path, tmp_path: Path) -> Path:
    """A DVC project without stages, for one test."""
    return shutil.copytree(empty, tmp_path / "project")


def reproduce(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run the command of `make repro` in a project that does not contain our code, and return what it printed."""
    return small.reproduce(folder, *arguments, status=status, PYTHONPATH=str(ROOT))


def write_pipeline(folder: Path, stages: Mapping[str, tuple[str, list[str]]], **more: Mapping[str, Any]) -> None:
    """Write a dvc.yaml whose stages NAME have the output NAME.txt.

    Args:
        folder: of the project.
        stages: for each stage, its command and the names of the stages that it depends on.
        more: for some stages, further entries, or others than these.
    """
    entries = {
        name: {"cmd": command, "deps": [f"{need}.txt" for need in needs], "outs": [f"{name}.txt"], **more.get(name, {})}
        for name, (command, needs) in stages.items()
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": entries}, sort_keys=False))


def test_the_lock_equals_that_of_a_serial_run_for_any_number_of_jobs(project: Path, tmp_path: Path) -> None:
    names = {name: name.replace("@", "_") for name in NEEDS}
    delays = {"data": 0.0, "train_a": 0.6, "views": 0.3, "picture": 0.5}
    write_pipeline(
        project,
        {
            name: (f"sleep {delays.get(name, 0)}; echo {name} > {name}.txt", [names[need] for need in NEEDS[full]])
            for full, name in reversed(names.items())
        },
    )
    locks = {}
    for jobs in ("serial", "1", "8"):
        folder = shutil.copytree(project, tmp_path / jobs)
        output = small.run(folder, "dvc", "repro") if jobs == "serial" else reproduce(folder, jobs)
        assert set(small.stages_run(output)) == set(names.values())
        locks[jobs] = (folder / "dvc.lock").read_text()
    assert len(set(locks.values())) == 1
    assert "up to date" in small.run(folder, "dvc", "status")
    output = reproduce(folder, "2")
    assert output.endswith("Data and pipelines are up to date.\n") and not small.stages_run(output)


def test_stages_are_restored_from_the_run_cache_unless_an_option_prevents_it(project: Path) -> None:
    write_pipeline(project, {"a": ("echo $(cat input) > a.txt", []), "b": ("cat a.txt > b.txt", ["a"])}, a={"deps": ["input"]})
    for content in ("1", "2"):
        (project / "input").write_text(content)
        assert small.stages_run(reproduce(project, "2")) == ["a", "b"]
    (project / "input").write_text("1")
    output = reproduce(project, "2")
    assert "Stage 'a' is cached - skipping run, checking out outputs" in output and not small.stages_run(output)
    assert (project / "b.txt").read_text() == "1\n" and "up to date" in small.run(project, "dvc", "status")
    (project / "input").write_text("2")
    assert small.stages_run(reproduce(project, "2", "--no-run-cache")) == ["a", "b"]
    assert "Stage 'b' didn't change, skipping" in reproduce(project, "2")
    assert small.stages_run(reproduce(project, "2", "--force")) == ["a", "b"]


def test_a_stage_gets_all_cores_if_it_runs_alone_and_one_otherwise(project: Path) -> None:
    command = f"echo ${CORES}"
    write_pipeline(
        project, {"a": (f"{command} > a.txt", []), "b": (f"{command} > b.txt", []), "c": (f"{command} > c.txt", ["a", "b"])}
    )
    reproduce(project, "3")
    assert [(project / f"{name}.txt").read_text() for name in "abc"] == ["1\n", "1\n", "3\n"]


@pytest.mark.skipif(not parallel.YIELDING, reason="this system has no scheduling priority below all others")
@pytest.mark.parametrize(("jobs", "yields"), [("2", True), ("3", False)])
def test_a_stage_gets_the_lowest_priority_only_if_cores_are_short(project: Path, jobs: str, yields: bool) -> None:
    """Stage `one` records whether it gets the lowest priority; stage `two`, with two threads, runs until then."""
    (project / "look.py").write_text(
        f"""import os, time
until = time.monotonic() + {60 if yields else 2}
while not (seen := os.sched_getscheduler(0) == os.SCHED_IDLE) and time.monotonic() < until:
    time.sleep(.05)
print(seen)
"""
    )
    wait = "until test -s one.txt; do sleep .1; done; echo > two.txt"
    write_pipeline(
        project,
        {"two": (wait, []), "one": (f"{sys.executable} look.py > one.tmp; mv one.tmp one.txt", [])},
        two={"params": ["threads"]},
    )
    small.change_params(project, {"threads": 2})
    reproduce(project, jobs)
    assert (project / "one.txt").read_text() == f"{yields}\n"


def test_a_failed_stage_stops_the_others_and_its_dependents_do_not_run(project: Path) -> None:
    stages = {
        "good": ("echo > good.txt", []),
        "bad": ("sleep 1; echo no reason; exit 3", []),
        "long": ("sleep 600; echo > long.txt", []),
        "later": ("echo > later.txt", ["bad"]),
        "last": ("echo > last.txt", ["later", "long"]),
    }
    write_pipeline(project, stages)
    began = time.monotonic()
    output = reproduce(project, "3", status=1)
    assert time.monotonic() - began < 60
    assert "[bad] no reason" in output and set(small.stages_run(output)) == {"good", "bad", "long"}
    last = output.strip().splitlines()[-1]
    assert last == "error: bad failed; finished stages are kept, and `make repro` continues from there"
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == {"good"}
    assert not small.running(project)
    write_pipeline(project, stages | {"bad": ("echo > bad.txt", []), "long": ("echo > long.txt", [])})
    assert set(small.stages_run(reproduce(project, "3"))) == {"bad", "long", "later", "last"}


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_running_stages_and_keeps_the_finished_ones(project: Path, ending: signal.Signals) -> None:
    deep = "(sleep 600; true); echo >"
    write_pipeline(
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
    # A shell that is just starting its child process may miss an interrupt.
    time.sleep(1)
    jobs.send_signal(ending)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130, rest
    assert "stopping the running stages" in rest and "Traceback" not in rest and "Running stage 'c'" not in rest
    assert not small.running(project)
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == {"good"}


def test_repeated_interrupts_kill_a_stage_that_ignores_signals(project: Path) -> None:
    write_pipeline(project, {"deaf": ("trap '' INT TERM; echo begun; sleep 600; echo > deaf.txt", [])})
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


def test_a_stage_that_ignores_the_interrupt_gets_a_stronger_signal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pipeline(
        project, {"deaf": ("trap '' INT; sleep 600 & wait; sleep 600; echo > deaf.txt", []), "bad": ("sleep 1; exit 3", [])}
    )
    monkeypatch.setattr(parallel, "PATIENCE", 0.2)
    with chdir(project), pytest.raises(UserError, match="bad failed"):
        parallel.main(["2"])
    assert not small.running(project)


def test_the_run_ends_if_nobody_reads_its_output(project: Path) -> None:
    write_pipeline(project, {"a": ("echo begun; sleep 2; echo ended; echo > a.txt", []), "b": ("echo > b.txt", ["a"])})
    jobs = small.start(project, *small.PARALLEL, "2", PYTHONPATH=str(ROOT))
    small.until(jobs, "[a] begun")
    assert jobs.stdout
    jobs.stdout.close()
    assert jobs.wait(60) == 1
    assert not small.running(project) and not (project / "b.txt").exists()


def test_the_finished_stages_of_a_killed_run_are_not_run_again(project: Path) -> None:
    names = [f"stage{number}" for number in range(5)]
    needs = [[], *([name] for name in names)]
    write_pipeline(
        project, {name: (f"echo > {name}.txt", need) for name, need in zip(names, needs, strict=False)} | {"end": LONG}
    )
    jobs = small.start(project, *small.PARALLEL, "2", PYTHONPATH=str(ROOT))
    small.until(jobs, "[end] begun")
    small.kill(project, jobs)
    write_pipeline(project, {name: (f"echo > {name}.txt", need) for name, need in zip(names, needs, strict=False)})
    assert not small.stages_run(reproduce(project, "2"))
    assert list(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == names


LONG = ("echo begun; sleep 600", ["stage4"])
"""Command and dependency of a stage that does not end by itself."""


CHANGED = {"dsm": {"sigma": 0.4}, "contrastive": {"temperature": 0.3}}
"""Params that make the two trainings of the mixture run again."""


@pytest.mark.integration
def test_parallel_trainings_give_the_lock_of_a_serial_run(reproduced: Path, copied: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(reproduced, other, symlinks=True)
    for folder in (copied, other):
        small.change_params(folder, CHANGED)
        # As in a first run of these two trainings: dvc.lock has no entries of them.
        entries = yaml.safe_load((folder / "dvc.lock").read_text())
        for name in [name for name in entries["stages"] if name.endswith(("mog_train@dsm", "mog_train@contrastive"))]:
            del entries["stages"][name]
        (folder / "dvc.lock").write_text(yaml.safe_dump(entries, sort_keys=False))
    ran = set(small.stages_run(small.run(other, "dvc", "repro")))
    output = small.reproduce(copied, "2")
    assert {f"mog_train@{m}" for m in CHANGED} <= ran == set(small.stages_run(output))
    # Both begin before either ends.
    begins = [output.index(f"Running stage 'mog_train@{m}'") for m in CHANGED]
    ends = [output.rindex(f"[mog_train@{m}] ") for m in CHANGED]
    assert max(begins) < min(ends)
    assert (copied / "dvc.lock").read_bytes() == (other / "dvc.lock").read_bytes()
    assert "up to date" in small.run(copied, "dvc", "status")


@pytest.mark.integration
def test_a_failed_training_is_named_and_leaves_no_process_running(copied: Path) -> None:
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
def test_a_signal_during_trainings_leaves_no_process_running(copied: Path, ending: signal.Signals) -> None:
    long = {"train": {"steps": 200000}}
    small.change_params(copied, {"dsm": long, "contrastive": long})
    jobs = small.start(copied, *small.PARALLEL, "2")
    small.until(jobs, "contrastive: step", "dsm: step")
    jobs.send_signal(ending)
    # An impatient user sends the signal twice.
    small.until(jobs, "stopping the running stages")
    jobs.send_signal(ending)
    rest = small.rest_of(jobs)
    assert jobs.returncode == 130, rest
    assert "Traceback" not in rest
    assert not small.running(copied)
    small.change_params(copied, {name: {"train": {"steps": 30}} for name in ("dsm", "contrastive")})
    small.run(copied, "dvc", "repro")


SLOW_STAGES = {"mnist_baseline": "stages/mnist/baseline.py", "compare": "stages/compare.py"}
"""Modules of a stage that runs beside others, and of one that depends on all methods."""


@pytest.mark.integration
@pytest.mark.parametrize("stage", SLOW_STAGES)
def test_a_signal_during_a_stage_without_training_leaves_no_process_running(copied: Path, stage: str) -> None:
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
def test_a_stage_without_its_code_file_is_named(copied: Path, missing: str, stage: str) -> None:
    (copied / missing).unlink()
    output = small.reproduce(copied, "2", status=1)
    assert re.match(f"error: {stage} failed", output.strip().splitlines()[-1]), output[-2000:]


def test_an_invalid_pipeline_is_reported_in_one_line(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: [1]\n")
    output = reproduce(project, "2", status=1)
    assert output.startswith("error: ") and output.count("\n") == 1 and "dvc.yaml" in output


@pytest.mark.parametrize("jobs", ["0", "many", "-1"])
def test_an_invalid_number_of_jobs_is_reported_in_one_line(jobs: str) -> None:
    output = small.reproduce(Path.cwd(), jobs, status=1)
    assert output == f"error: JOBS: {jobs!r} is not accepted: expected a whole number above 0\n"
