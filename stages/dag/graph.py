"""The graph of the pipeline's stages."""

from __future__ import annotations

import networkx as nx

from stages.dag.dvc_repo import open_repo


def stage_graph() -> nx.DiGraph:
    """DVC's graph of stage names, with an edge from each stage to every stage that it depends on.

    Raises:
        UserError: DVC rejects dvc.yaml.
    """
    with open_repo() as repo:
        stages = repo.index.graph
    return nx.relabel_nodes(stages, {stage: stage.addressing for stage in stages})
