"""The stages of the pipeline as tasks of a schedule."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import networkx as nx

from stages.config import params as parameters
from stages.core.paths import cost_file
from stages.dag.schedule import Task
from stages.pipeline import files

if TYPE_CHECKING:
    from dvc.stage import Stage


def tasks(graph: nx.DiGraph) -> list[Task]:
    """The stages as tasks that take as long as their last run; a stage without a record takes the mean of the others."""
    costs = {stage: files.read_json(path) for stage in graph if (path := cost_file(stage.addressing)).exists()}
    # Files of an older version lack this key.
    known = {stage: float(cost["cpu_seconds"]) for stage, cost in costs.items() if "cpu_seconds" in cost}
    usual = statistics.fmean(known.values()) if known else 1.0
    values = parameters.load()

    def threads(stage: Stage) -> int:
        read = {key for dep in stage.deps for key in getattr(dep, "params", ())}
        return (values.threads if "threads" in read else 1) * (values.processes if "processes" in read else 1)

    return [
        Task(
            name=stage.addressing,
            needs=frozenset(needed.addressing for needed in graph.successors(stage)),
            threads=threads(stage),
            seconds=known.get(stage, usual) / threads(stage),
        )
        for stage in graph
    ]
