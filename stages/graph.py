"""The graph of the pipeline's stages."""

from __future__ import annotations

import networkx as nx


def stage_graph() -> nx.DiGraph:
    """The names of all stages, with an edge from each to what it depends on, as DVC has it."""
    from dvc.repo import Repo

    with Repo() as repo:
        stages = repo.index.graph
        return nx.relabel_nodes(stages, {stage: stage.addressing for stage in stages})
