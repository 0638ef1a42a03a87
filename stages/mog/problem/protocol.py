"""The evaluation protocol: everything about how methods on the mixture are measured that is no property of a method.

`mog_data` writes it beside the points and the views, and every evaluation reads it from there. So all methods are measured by
the same protocol on the same views, and dvc.lock holds it once instead of once a method.
"""

from __future__ import annotations

from stages.config.base import Block, Seed
from stages.config.messages import check
from stages.config.mixture import Annealed, Collapse, Langevin, MogEvaluation
from stages.config.params import Params
from stages.config.schema import Page
from stages.pipeline import artifacts, files

FILE = artifacts.PROTOCOL


class Protocol(Block):
    """The params of every evaluation, as in params.yaml; `evaluation` is `mog.evaluation`."""

    seed: Seed
    device: str
    evaluation: MogEvaluation
    langevin: Langevin
    annealed: Annealed
    collapse: Collapse
    page: Page


def write(params: Params) -> None:
    """Write the protocol that params.yaml describes."""
    own = {name: getattr(params, name) for name in Protocol.model_fields if name != "evaluation"}
    files.write_json(FILE, Protocol(**own, evaluation=params.mog.evaluation).model_dump())


def read() -> Protocol:
    """The protocol beside the points."""
    return check(FILE, Protocol, files.read_json(FILE))
