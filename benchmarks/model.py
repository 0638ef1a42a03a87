"""How long the pipeline takes on more cores and how much many experiments cost, from what the last run measured.

    python -m benchmarks.model --wall SECONDS

The model is the DAG with three figures for each stage: the seconds that it computed (`reports/costs`), what every stage costs
beside that (interpreter, imports, DVC: the wall time of a cold serial run less the seconds inside, over the stages), and the
bytes that it wrote (dvc.lock). In which order so many cores take the stages is asked of the scheduler of `make repro` itself.
What comes out are lower bounds: side by side, stages also compete for memory bandwidth, DVC looks at the files of one stage at
a time, and a stage is slower on fewer cores than it has threads. What a node of a sweep does beside its stages is measured on
this machine's disk: it clones, pulls what the committed run has, and pushes. A network takes longer. Of a GPU it says what
would be gained if the stages that use one were so many times as fast.
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

from benchmarks.report import duration, figure
from stages.core.command import end, environment, output
from stages.core.errors import UserError
from stages.core.paths import PARAMS, cost_file
from stages.dag.graph import stage_graph
from stages.dag.lock import LOCK, entries
from stages.dag.schedule import Schedule, Task
from stages.pipeline import files
from stages.results.tables import table

CORES = (1, 2, 4, 8, 16, 32)
EXPERIMENTS = (10, 100, 1000)
FASTER = (1.0, 2.0, 5.0, 20.0, math.inf)
"""By how much a GPU might be faster than the measured run."""
ON_GPU = ("mnist_train@", "mnist_evaluate@", "mnist_reconstruct@", "mnist_reconstruct_evaluate@")
"""Stages whose networks might gain by a GPU; those of the mixture use one too, and are too small to gain by it."""


@dataclass(frozen=True)
class Costs:
    """What a stage costs: seconds, of which `start` are not its own work, bytes that it writes, and threads."""

    work: float
    start: float
    size: int
    threads: int = 1

    @property
    def seconds(self) -> float:
        """From start to end."""
        return self.work + self.start


def makespan(graph: nx.DiGraph, seconds: Mapping[str, float], cores: int, threads: Mapping[str, int] | None = None) -> float:
    """Seconds until all stages are done on so many cores, in the order of `make repro`.

    Stages that have to yield share what those of several threads leave: in this model nothing, where these have all cores.

    Args:
        graph: an edge from each stage to what it depends on.
        seconds: of each stage.
        cores: how many there are.
        threads: of each stage; one where None.
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


def measured(wall: float) -> tuple[nx.DiGraph, dict[str, Costs]]:
    """The DAG and what its stages cost in the last cold run, which took `wall` seconds.

    Raises:
        UserError: a stage has no cost, or no whole entry in dvc.lock: it has not run here.
    """
    graph = stage_graph()
    locked = entries()
    for name in graph:
        if name not in locked or not all("size" in out for out in locked[name].get("outs", [])):
            raise UserError(f"the entry of {name} is not whole in {LOCK}: `dvc repro` first")
        if not cost_file(name).exists():
            raise UserError(f"{cost_file(name)} is missing: `dvc repro --force` measures every stage")
    work = {name: files.read_json(cost_file(name))["seconds"] for name in graph}
    start = max(wall - sum(work.values()), 0.0) / len(work)
    sizes = {name: sum(out["size"] for out in locked[name].get("outs", [])) for name in graph}
    return graph, {name: Costs(work[name], start, sizes[name], _threads(locked[name])) for name in graph}


def _threads(entry: Mapping[str, Any]) -> int:
    """The threads that a stage computed with, by its entry in dvc.lock: of all processes, where they train together."""
    read = entry.get("params", {}).get(str(PARAMS), {})
    return int(read.get("threads", 1) * read.get("processes", 1))


def changed(graph: nx.DiGraph, first: str) -> list[str]:
    """The stages that run again where `first` does: it and all that depends on it."""
    return [first, *nx.ancestors(graph, first)]


def cores_table(graph: nx.DiGraph, costs: Mapping[str, Costs], cores: Sequence[int] = CORES) -> str:
    """How the time of a cold run falls with the number of cores, as Markdown."""
    seconds, threads = ({name: getattr(cost, key) for name, cost in costs.items()} for key in ("seconds", "threads"))
    serial = sum(seconds.values())
    spans = [makespan(graph, seconds, count, threads) for count in cores]
    rows = [[str(count), duration(span), figure(serial / span)] for count, span in zip(cores, spans, strict=True)]
    return table(["cores", "`make repro`", "times as fast as `dvc repro`"], rows)


def gpu_table(graph: nx.DiGraph, costs: Mapping[str, Costs], factors: Sequence[float] = FASTER) -> str:
    """What a cold run takes if the stages on the images compute so many times as fast, as Markdown."""
    rows = []
    for factor in factors:
        seconds = {n: cost.start + cost.work / (factor if n.startswith(ON_GPU) else 1) for n, cost in costs.items()}
        spans = [makespan(graph, seconds, at_a_time) for at_a_time in (1, len(seconds))]
        rows.append(["without end" if math.isinf(factor) else f"{factor:g}", *map(duration, spans)])
    return table(["times as fast on the images", "one stage at a time", "no shorter than"], rows)


@dataclass(frozen=True)
class Sharing:
    """Seconds that a node of a sweep takes beside its stages."""

    clone: float
    pull: float
    push: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.clone + self.pull + self.push


def sharing(size: int) -> Sharing:
    """Clone this project, pull the committed run from a remote in a folder, and push `size` new bytes to it, as a node does.

    Raises:
        UserError: one of these fails, as where the results of the last run are not committed.
    """
    with tempfile.TemporaryDirectory() as folder:
        home, node, remote = (Path(folder) / name for name in ("home", "node", "remote"))
        cache = output("dvc", "cache", "dir").strip()

        def timed(where: Path, *command: str) -> float:
            started = time.perf_counter()
            done = subprocess.run(command, cwd=where, env=environment(), capture_output=True, text=True, check=False)
            if done.returncode:
                why = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"`{' '.join(command)}` failed in a clone of the last commit, which has to be the run's: {why}")
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
    """What so many experiments cost that run `first` again and what follows from it, as Markdown.

    On one machine the queue shares its cache; on sixteen every experiment is also cloned, pulled and pushed.
    """
    again = changed(graph, first)
    part = graph.subgraph(again)
    alone = makespan(part, {name: costs[name].seconds for name in again}, 1)
    size = sum(costs[name].size for name in again)
    rows = []
    for count in counts:
        gigabytes = count * size / 1e9
        on_many = math.ceil(count / 16) * (alone + shared.seconds)
        times = [duration(alone), *(f"{figure(seconds / 3600)} h" for seconds in (count * alone, on_many))]
        rows.append([f"{count:,}", *times, f"{figure(gigabytes)} GB"])
    header = ["experiments", "one of them", "one machine", "16 machines", "new bytes in the remote"]
    return table(header, rows)


def stages_table(costs: Mapping[str, Costs], count: int = 12) -> str:
    """The stages that compute longest, as Markdown."""
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
    parser.add_argument("--wall", type=float, required=True, help="seconds of the cold `dvc repro` that made reports/costs")
    graph, costs = measured(parser.parse_args(arguments).wall)
    way = nx.dag_longest_path(nx.DiGraph([(b, a, {"weight": costs[b].seconds}) for a, b in graph.edges]))
    print(f"Beside its work a stage costs {next(iter(costs.values())).start:.1f} s.\n")
    print(stages_table(costs))
    print(cores_table(graph, costs))
    print(f"The critical path takes {duration(sum(costs[n].seconds for n in way))}: {', '.join(way)}.\n")
    print(gpu_table(graph, costs))
    first = "mog_train@dsm"
    shared = sharing(sum(costs[name].size for name in changed(graph, first)))
    print(f"A node clones in {duration(shared.clone)}, pulls in {duration(shared.pull)}, pushes in {duration(shared.push)}.\n")
    print(experiments_table(graph, costs, first, shared=shared))


if __name__ == "__main__":
    end(main)
