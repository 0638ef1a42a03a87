"""How long the pipeline takes on more cores and how much many experiments cost, from what the last run measured.

    python -m benchmarks.model --wall SECONDS

The model is the DAG with three figures for each stage: the seconds that it computed (`reports/costs`), what every stage costs
beside that (interpreter, imports, DVC: the wall time of a cold run less the seconds inside, over the stages), and the bytes
that it wrote (dvc.lock). A machine with room for N stages at a time starts, whenever one ends, the one that most work waits
for; `make repro JOBS=N` takes each method's stages as one chain and is a little slower. Both are lower bounds: side by side,
stages also compete for memory bandwidth, and DVC's lock lets one process at a time look at its files. Clones, pulls and pushes
of a sweep are not in it.
"""

from __future__ import annotations

import argparse
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import yaml

from benchmarks.report import duration, figure
from stages import files
from stages.errors import UserError
from stages.graph import stage_graph
from stages.runtime import cost_file
from stages.side_by_side import chains
from stages.tables import table

SLOTS = (1, 2, 4, 8, 16, 32)
EXPERIMENTS = (10, 100, 1000)


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
        UserError: a stage has no cost: it has not run here.
    """
    graph = stage_graph()
    lock: dict[str, Any] = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    for name in graph:
        if not cost_file(name).exists():
            raise UserError(f"{cost_file(name)} is missing: `dvc repro --force` measures every stage")
    work = {name: files.read_json(cost_file(name))["seconds"] for name in graph}
    start = max(wall - sum(work.values()), 0.0) / len(work)
    sizes = {name: sum(out["size"] for out in lock.get(name, {}).get("outs", [])) for name in graph}
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


def experiments_table(graph: nx.DiGraph, costs: Mapping[str, Costs], first: str, counts: Sequence[int] = EXPERIMENTS) -> str:
    """What so many experiments cost that run `first` again and what follows from it, as Markdown."""
    again = changed(graph, first)
    part = graph.subgraph(again)
    alone = makespan(part, {name: costs[name].seconds for name in again}, 1)
    size = sum(costs[name].size for name in again)
    rows = []
    for count in counts:
        gigabytes = count * size / 1e9
        times = [duration(alone), *(f"{figure(math.ceil(count / machines) * alone / 3600)} h" for machines in (1, 16))]
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


def main() -> None:
    """Print the tables of docs/scaling.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wall", type=float, required=True, help="seconds of the cold run that made reports/costs")
    graph, costs = measured(parser.parse_args().wall)
    way = nx.dag_longest_path(nx.DiGraph([(b, a, {"weight": costs[b].seconds}) for a, b in graph.edges]))
    print(f"Beside its work a stage costs {next(iter(costs.values())).start:.1f} s.\n")
    print(stages_table(costs))
    print(slots_table(graph, costs))
    print(f"No run is shorter than its longest way: {duration(sum(costs[n].seconds for n in way))} along {', '.join(way)}.\n")
    print(experiments_table(graph, costs, "mog_train@dsm"))


if __name__ == "__main__":
    main()
