"""The graph of the pipeline's stages, and where the last run noted what each of them cost."""

from __future__ import annotations

from pathlib import Path

import networkx as nx

from stages import runtime


def stage_graph() -> nx.DiGraph:
    """The names of all stages, with an edge from each to what it depends on, as DVC has it."""
    from dvc.repo import Repo

    with Repo() as repo:
        stages = repo.index.graph
        return nx.relabel_nodes(stages, {stage: stage.addressing for stage in stages})


def cost_file(name: str) -> Path:
    """Where the seconds and the memory of a stage's last run are."""
    return runtime.COSTS / f"{name.replace('@', '.')}.json"
