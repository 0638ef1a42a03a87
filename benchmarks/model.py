"""How long the pipeline takes on more cores and how much many experiments cost, from what the last run measured.

    python -m benchmarks.model --wall SECONDS

The model is the DAG with three figures for each stage: the seconds that it computed (`reports/costs`), what every stage costs
beside that (interpreter, imports, DVC: the wall time of a cold run less the seconds inside, over the stages), and the bytes
that it wrote (dvc.lock). A machine with room for N stages at a time starts, whenever one ends, the one that most work waits
for; `make repro JOBS=N` takes each method's stages as one chain and is a little slower. Both are lower bounds: side by side,
stages also compete for memory bandwidth, and DVC's lock lets one process at a time look at its files. What a node of a sweep
does beside its stages is measured on this machine's disk: it clones, pulls what the committed run has, and pushes. A network
takes longer. Of a GPU it says what would be gained if the stages that use one were so many times as fast.
"""

from __future__ import annotations

import argparse
import heapq
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

from benchmarks.report import duration, figure
from stages import files
from stages.command import end, environment, output
from stages.errors import UserError
from stages.graph import stage_graph
from stages.lock import LOCK, entries
from stages.runtime import cost_file
from stages.side_by_side import chains
from stages.tables import table

SLOTS = (1, 2, 4, 8, 16, 32)
EXPERIMENTS = (10, 100, 1000)
FASTER = (1.0, 2.0, 5.0, 20.0, math.inf)
"""By how much a GPU might be faster than the measured run."""
ON_GPU = ("mnist_train@", "mnist_evaluate@", "mnist_reconstruct@", "mnist_reconstruct_evaluate@", "mnist_reconstruct_atlas@")
"""Stages whose networks might gain by a GPU; those of the mixture use one too, and are too small to gain by it."""


@dataclass(frozen=True)
class Costs:
    """What a stage costs: seconds, of which `start` are not its own work, and bytes that it writes."""

    work: float
    start: float
    size: int

    @property
    def seconds(self) -> float:
        """From start to end."""
        return self.work + self.start


def makespan(graph: nx.DiGraph, seconds: Mapping[str, float], slots: int) -> float:
    """Seconds until all stages are done, `slots` at a time, the one with the longest way to the end first.

    Args:
        graph: an edge from each stage to what it depends on.
        seconds: of each stage.
        slots: how many stages run at a time.
    """
    way: dict[str, float] = {}
    for name in nx.topological_sort(graph):
        way[name] = seconds[name] + max((way[other] for other in graph.predecessors(name)), default=0.0)
    missing = {name: graph.out_degree(name) for name in graph}
    ready = [(-way[name], name) for name in graph if not missing[name]]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            name = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + seconds[name], name))
        now, done = heapq.heappop(running)
        for other in graph.predecessors(done):
            missing[other] -= 1
            if not missing[other]:
                heapq.heappush(ready, (-way[other], other))
    return now


def in_chains(graph: nx.DiGraph, seconds: Mapping[str, float], jobs: int) -> float:
    """Seconds of `make repro JOBS=jobs`: what methods share, then each method's stages as one chain, then what joins them."""
    _, parts, order = chains(graph)
    of_methods = {name for part in parts for name in part}
    free = [0.0] * jobs
    for length in sorted((sum(seconds[name] for name in part) for part in parts), reverse=True):
        heapq.heapreplace(free, free[0] + length)
    alone = sum(seconds[name] for name in order if name not in of_methods)
    return alone + max(free)


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
    return graph, {name: Costs(work[name], start, sizes[name]) for name in graph}


def changed(graph: nx.DiGraph, first: str) -> list[str]:
    """The stages that run again where `first` does: it and all that depends on it."""
    return [first, *nx.ancestors(graph, first)]


def slots_table(graph: nx.DiGraph, costs: Mapping[str, Costs], slots: Sequence[int] = SLOTS) -> str:
    """How the time of a cold run falls with the number of stages at a time, as Markdown."""
    seconds = {name: cost.seconds for name, cost in costs.items()}
    serial = makespan(graph, seconds, 1)
    rows = []
    for count in slots:
        span, side = makespan(graph, seconds, count), in_chains(graph, seconds, count)
        rows.append([str(count), duration(side), figure(serial / side), duration(span), figure(serial / span)])
    return table(["at a time", "`JOBS`, method by method", "times as fast", "stage by stage", "times as fast"], rows)


def gpu_table(graph: nx.DiGraph, costs: Mapping[str, Costs], factors: Sequence[float] = FASTER) -> str:
    """What a cold run takes if the stages on the images compute so many times as fast, as Markdown."""
    rows = []
    for factor in factors:
        seconds = {n: cost.start + cost.work / (factor if n.startswith(ON_GPU) else 1) for n, cost in costs.items()}
        spans = [makespan(graph, seconds, slots) for slots in (1, len(seconds))]
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wall", type=float, required=True, help="seconds of the cold run that made reports/costs")
    graph, costs = measured(parser.parse_args(arguments).wall)
    way = nx.dag_longest_path(nx.DiGraph([(b, a, {"weight": costs[b].seconds}) for a, b in graph.edges]))
    print(f"Beside its work a stage costs {next(iter(costs.values())).start:.1f} s.\n")
    print(stages_table(costs))
    print(slots_table(graph, costs))
    print(f"No run is shorter than its longest way: {duration(sum(costs[n].seconds for n in way))} along {', '.join(way)}.\n")
    print(gpu_table(graph, costs))
    first = "mog_train@dsm"
    shared = sharing(sum(costs[name].size for name in changed(graph, first)))
    print(f"A node clones in {duration(shared.clone)}, pulls in {duration(shared.pull)}, pushes in {duration(shared.push)}.\n")
    print(experiments_table(graph, costs, first, shared=shared))


if __name__ == "__main__":
    end(main)
