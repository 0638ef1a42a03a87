"""The evaluation protocol: the params of the evaluation on the mixture, the same for all methods.

`mog_data` writes the protocol beside the points and the views, and each evaluation reads it from there. All methods are
therefore evaluated by the same protocol on the same views, and dvc.lock records it once instead of once per method.
"""

from __future__ import annotations

from stages.config.base import Block, Seed
from stages.config.messages import check
from stages.config.mixture import Annealed, Collapse, Langevin, MogEvaluation
from stages.config.params import Params
from stages.config.schema import Page
from stages.pipeline import artifacts, files

FILE = artifacts.PROTOCOL
"""The protocol, written by `mog_data`."""


class Protocol(Block):
    """The params of every evaluation, as in params.yaml; `evaluation` is the block `mog.evaluation`."""

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
    """Read and validate the protocol."""
    return check(FILE, Protocol, files.read_json(FILE))
