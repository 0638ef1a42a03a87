"""The graph of the pipeline's stages."""

from __future__ import annotations

import networkx as nx

from stages.core.errors import UserError


def stage_graph() -> nx.DiGraph:
    """The names of all stages, with an edge from each to what it depends on, as DVC has it.

    Raises:
        UserError: DVC does not accept dvc.yaml.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            stages = repo.index.graph
    except DvcException as error:
        raise UserError(" ".join(str(error).split())) from None
    return nx.relabel_nodes(stages, {stage: stage.addressing for stage in stages})
