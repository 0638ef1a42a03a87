"""Paths, relative to the project's folder unless stated otherwise, and environment variables that several packages use."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
"""The folder that holds the package `stages`, absolute."""
PARAMS = Path("params.yaml")
CLAIMS = Path("claims.yaml")
MIXTURES = Path("mixtures.yaml")
STUDIES = Path("reports/studies")
COSTS = Path("reports/costs")
"""Time and memory of each stage's last run, which neither DVC nor git tracks."""
FRESH = "ENERGY_WELLS_FRESH"
"""Environment variable that makes trainings ignore checkpoints; a forced `make repro` sets it."""


def root() -> Path:
    """The project's folder, also in the temporary copies in which `dvc exp run --temp` and `--queue` work."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def cost_file(stage: str) -> Path:
    """The file with the seconds and the memory of a stage's last run."""
    return COSTS / f"{stage.replace('@', '.')}.json"
