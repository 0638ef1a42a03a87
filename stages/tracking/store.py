"""Where runs are logged: `MLFLOW_TRACKING_URI` where that is set, else mlflow.db beside the project's dvc.yaml.

The project's folder is also meant from the temporary copies in which `dvc exp run --temp` and `--queue` work.
"""

from __future__ import annotations

import os
from pathlib import Path

from stages.core.paths import root

EXPERIMENT = "energy-wells"
"""The name of the experiment that all runs are in."""
WHEN = "ENERGY_WELLS_TRACK"
"""Environment variable by which stage track is told when to log."""
NOW, SOON, LATER = "now", "soon", "later"
"""Before it ends; in the background; not by itself, since whoever called it will do so, as `make repro` does."""


def when() -> str:
    """When stage track logs: where nothing else is said, in the background for DVC, and at once for a person."""
    return os.environ.get(WHEN) or (SOON if "DVC_STAGE" in os.environ else NOW)


def tracking_uri() -> str:
    """The address of the store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root() / 'mlflow.db'}"


def folder() -> Path:
    """Where what belongs to a local store lies: beside its database."""
    address = tracking_uri()
    return Path(address.removeprefix("sqlite:///")).parent if address.startswith("sqlite:///") else root()


def be_impatient() -> None:
    """Let MLflow ask a server twice and no more, for 20 s each; its own patience is seven times two minutes.

    To be called before mlflow is imported.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def is_server() -> bool:
    """Whether a tracking server keeps the runs, which then knows by itself where artifacts go."""
    return tracking_uri().startswith(("http://", "https://"))
