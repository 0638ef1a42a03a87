"""Paths and environment variables that several packages use; paths are relative to the project's folder unless stated."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""Absolute path of the folder that contains the package `stages`."""
PARAMS = Path("params.yaml")
"""Params of the stages."""
CLAIMS = Path("claims.yaml")
"""Claims about the methods and the criteria that decide them."""
MIXTURES = Path("mixtures.yaml")
"""Mixtures of Gaussians."""
STUDIES = Path("reports/studies")
"""Results of the studies."""
COSTS = Path("reports/costs")
"""Time and memory of each stage's last run; tracked by neither DVC nor Git."""
FRESH = "ENERGY_WELLS_FRESH"
"""Environment variable that makes trainings ignore checkpoints; a forced `make repro` sets it."""


def root() -> Path:
    """The project's folder, even if called in a temporary copy of `dvc exp run --temp` or `--queue`."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def cost_file(stage: str) -> Path:
    """File with the time and memory of a stage's last run."""
    return COSTS / f"{stage.replace('@', '.')}.json"
