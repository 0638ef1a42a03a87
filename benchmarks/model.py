"""Cost model: the time of the pipeline on more cores and the cost of many experiments, from the last run's measurements.

    python -m benchmarks.model --wall SECONDS

The model is the DAG with three values for each stage: its compute time (`reports/costs`); its overhead for interpreter, imports
and DVC, which is the wall time of a cold serial run minus all compute times, divided by the number of stages; and the size of
its outputs (dvc.lock). The scheduler of `make repro` decides the order of the stages. The predicted times are lower bounds:
parallel stages also compete for memory bandwidth, DVC hashes the files of one stage at a time, and a stage is slower on fewer
cores than it has threads.

The overhead of a node in a sweep (clone, pull the committed run, push) is measured on this machine's disk; over a network it is
longer. For a GPU, the model assumes a factor by which the stages on images are faster.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx

from benchmarks.report import duration, three_digits
from stages.core.command import end, environment, output
from stages.core.errors import UserError
from stages.core.paths import PARAMS, cost_file
from stages.dag.graph import stage_graph
from stages.dag.lock import LOCK, entries
from stages.dag.schedule import Schedule, Task
from stages.pipeline import files
from stages.results.tables import table

CORES = (1, 2, 4, 8, 16, 32)
"""Numbers of cores."""
EXPERIMENTS = (10, 100, 1000)
"""Numbers of experiments."""
SPEEDUPS = (1.0, 2.0, 5.0, 20.0, math.inf)
"""Factors by which a GPU might be faster than the measured run."""
ON_GPU = ("mnist_train@", "mnist_evaluate@", "mnist_reconstruct@", "mnist_reconstruct_evaluate@")
"""Stages that might be faster on a GPU; the networks of the mixture's stages use one too, but are too small to gain."""


@dataclass(frozen=True)
class Costs:
    """The costs of a stage: seconds of compute (`work`) and overhead (`start`), bytes of its outputs, and threads."""

    work: float
    start: float
    size: int
    threads: int = 1

    @property
    def seconds(self) -> float:
        """Compute time and overhead."""
        return self.work + self.start


def makespan(graph: nx.DiGraph, seconds: Mapping[str, float], cores: int, threads: Mapping[str, int] | None = None) -> float:
    """Seconds until all stages are done on `cores` cores, scheduled as by `make repro`.

    Stages in the background share the cores that multi-threaded stages leave; in this model they stop if there are none.

    Args:
        graph: an edge from each stage to each stage that it depends on.
        seconds: of each stage.
        cores: number of cores.
        threads: of each stage; None for one thread each.
    """
    count = threads or dict.fromkeys(graph, 1)
    tasks = {name: Task(name, frozenset(graph.successors(name)), count[name], seconds[name]) for name in graph}
    schedule = Schedule(tasks.values(), cores)
    left: dict[str, float] = {}
    now = 0.0
    while not schedule.idle():
        while (name := schedule.next()) is not None:
            left[name] = seconds[name]
        yielding = schedule.background()
        idle = cores - sum(min(count[name], cores) for name in left if name not in yielding)
        speed = {name: min(idle / len(yielding), 1) if name in yielding else 1.0 for name in left}
        passed = min(left[name] / speed[name] for name in left if speed[name])
        now += passed
        ended = [name for name in left if speed[name] and left[name] / speed[name] <= passed]
        left = {name: value - passed * speed[name] for name, value in left.items() if name not in ended}
        for name in ended:
            schedule.finish(name)
    return now


def read_costs(wall: float) -> tuple[nx.DiGraph, dict[str, Costs]]:
    """The DAG and the costs of its stages in the last cold run, which took `wall` seconds.

    Raises:
        UserError: a stage has no measured cost or no complete entry in dvc.lock.
    """
    graph = stage_graph()
    locked = entries()
    for name in graph:
        if name not in locked or not all("size" in out for out in locked[name].get("outs", [])):
            raise UserError(f"the entry of {name} in {LOCK} is incomplete: run `dvc repro` first")
        if not cost_file(name).exists():
            raise UserError(f"{cost_file(name)} is missing: `dvc repro --force` measures every stage")
    work = {name: files.read_json(cost_file(name))["seconds"] for name in graph}
    start = max(wall - sum(work.values()), 0.0) / len(work)
    sizes = {name: sum(out["size"] for out in locked[name].get("outs", [])) for name in graph}
    return graph, {name: Costs(work[name], start, sizes[name], _threads(locked[name])) for name in graph}


def _threads(entry: Mapping[str, Any]) -> int:
    """The threads of a stage in all its processes, according to its entry in dvc.lock."""
    read = entry.get("params", {}).get(str(PARAMS), {})
    return int(read.get("threads", 1) * read.get("processes", 1))


def changed(graph: nx.DiGraph, first: str) -> list[str]:
    """The stages that rerun if `first` changes: `first` and all stages that depend on it."""
    return [first, *nx.ancestors(graph, first)]


def cores_table(graph: nx.DiGraph, costs: Mapping[str, Costs], cores: Sequence[int] = CORES) -> str:
    """The time of a cold run for several numbers of cores, as Markdown."""
    seconds, threads = ({name: getattr(cost, key) for name, cost in costs.items()} for key in ("seconds", "threads"))
    serial = sum(seconds.values())
    spans = [makespan(graph, seconds, count, threads) for count in cores]
    rows = [[str(count), duration(span), three_digits(serial / span)] for count, span in zip(cores, spans, strict=True)]
    return table(["cores", "`make repro`", "speed-up over `dvc repro`"], rows)


def gpu_table(graph: nx.DiGraph, costs: Mapping[str, Costs], factors: Sequence[float] = SPEEDUPS) -> str:
    """The time of a cold run if the stages on images compute `factors` times as fast, as Markdown."""
    rows = []
    for factor in factors:
        seconds = {n: cost.start + cost.work / (factor if n.startswith(ON_GPU) else 1) for n, cost in costs.items()}
        spans = [makespan(graph, seconds, at_a_time) for at_a_time in (1, len(seconds))]
        rows.append(["∞" if math.isinf(factor) else f"{factor:g}", *map(duration, spans)])
    return table(["speed-up on images", "one stage at a time", "critical path"], rows)


@dataclass(frozen=True)
class Sharing:
    """The overhead of a node in a sweep, seconds."""

    clone: float
    pull: float
    push: float

    @property
    def seconds(self) -> float:
        """The total overhead."""
        return self.clone + self.pull + self.push


def sharing(size: int) -> Sharing:
    """Time the steps of a node: clone this project, pull the committed run from a remote in a folder, push `size` new bytes.

    Raises:
        UserError: a command fails, for example because the results of the last run are not committed.
    """
    with tempfile.TemporaryDirectory() as folder:
        home, node, remote = (Path(folder) / name for name in ("home", "node", "remote"))
        cache = output("dvc", "cache", "dir").strip()

        def timed(where: Path, *command: str) -> float:
            started = time.perf_counter()
            done = subprocess.run(command, cwd=where, env=environment(), capture_output=True, text=True, check=False)
            if done.returncode:
                why = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"`{' '.join(command)}` failed in a clone of HEAD, which must contain the last run: {why}")
            return time.perf_counter() - started

        timed(Path(), "git", "clone", "--quiet", ".", str(home))
        timed(home, "dvc", "cache", "dir", "--local", cache)
        timed(home, "dvc", "remote", "add", "--local", "--default", "shared", str(remote))
        timed(home, "dvc", "push")
        clone = timed(Path(), "git", "clone", "--quiet", ".", str(node))
        clone += timed(node, "dvc", "remote", "add", "--local", "--default", "shared", str(remote))
        pull = timed(node, "dvc", "pull")
        (node / "made").write_bytes(os.urandom(size))
        timed(node, "dvc", "add", "--quiet", "made")
        return Sharing(clone, pull, timed(node, "dvc", "push"))


def experiments_table(
    graph: nx.DiGraph,
    costs: Mapping[str, Costs],
    first: str,
    counts: Sequence[int] = EXPERIMENTS,
    shared: Sharing = Sharing(0, 0, 0),
) -> str:
    """The cost of experiments that rerun `first` and all stages that depend on it, as Markdown.

    On one machine DVC's queue shares the cache; on sixteen machines each experiment also clones, pulls and pushes.
    """
    again = changed(graph, first)
    part = graph.subgraph(again)
    alone = makespan(part, {name: costs[name].seconds for name in again}, 1)
    size = sum(costs[name].size for name in again)
    rows = []
    for count in counts:
        gigabytes = count * size / 1e9
        on_many = math.ceil(count / 16) * (alone + shared.seconds)
        times = [duration(alone), *(f"{three_digits(seconds / 3600)} h" for seconds in (count * alone, on_many))]
        rows.append([f"{count:,}", *times, f"{three_digits(gigabytes)} GB"])
    header = ["experiments", "one experiment", "one machine", "16 machines", "new data in the remote"]
    return table(header, rows)


def stages_table(costs: Mapping[str, Costs], count: int = 12) -> str:
    """The `count` stages with the longest compute time, as Markdown."""
    longest = sorted(costs, key=lambda name: costs[name].work, reverse=True)[:count]
    groups = {name: [costs[name]] for name in longest}
    groups[f"{len(costs) - len(longest)} others"] = [cost for name, cost in costs.items() if name not in longest]
    groups[f"all {len(costs)}"] = list(costs.values())
    rows = [
        [name, f"{sum(cost.work for cost in group):.1f} s", f"{sum(cost.size for cost in group) / 1e6:.1f} MB"]
        for name, group in groups.items()
    ]
    return table(["stage", "work", "outputs"], rows)


def main(arguments: Sequence[str]) -> None:
    """Print the tables of docs/scaling.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=(__doc__ or " ").splitlines()[0])
    parser.add_argument("--wall", type=float, required=True, help="seconds of the cold `dvc repro` that wrote reports/costs")
    graph, costs = read_costs(parser.parse_args(arguments).wall)
    path = nx.dag_longest_path(nx.DiGraph([(b, a, {"weight": costs[b].seconds}) for a, b in graph.edges]))
    print(f"The overhead of a stage is {next(iter(costs.values())).start:.1f} s.\n")
    print(stages_table(costs))
    print(cores_table(graph, costs))
    print(f"The critical path takes {duration(sum(costs[n].seconds for n in path))}: {', '.join(path)}.\n")
    print(gpu_table(graph, costs))
    first = "mog_train@dsm"
    shared = sharing(sum(costs[name].size for name in changed(graph, first)))
    print(f"A node clones in {duration(shared.clone)}, pulls in {duration(shared.pull)}, pushes in {duration(shared.push)}.\n")
    print(experiments_table(graph, costs, first, shared=shared))


if __name__ == "__main__":
    end(main)
