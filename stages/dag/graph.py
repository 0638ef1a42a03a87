"""The graph of the pipeline's stages."""

from __future__ import annotations

import networkx as nx

from stages.core.errors import UserError


def stage_graph() -> nx.DiGraph:
    """DVC's graph of stage names, with an edge from each stage to every stage that it depends on.

    Raises:
        UserError: DVC rejects dvc.yaml.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            stages = repo.index.graph
    except DvcException as error:
        raise UserError(" ".join(str(error).split())) from None
    return nx.relabel_nodes(stages, {stage: stage.addressing for stage in stages})
