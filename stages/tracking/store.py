"""The MLflow store: `MLFLOW_TRACKING_URI` if set, otherwise mlflow.db beside the project's dvc.yaml.

The temporary copies in which `dvc exp run --temp` and `--queue` work use the store of the original project.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from stages.core.errors import UserError
from stages.core.paths import root

SQLITE = "sqlite:///"
"""Prefix of the URI of an SQLite database."""
EXPERIMENT = "energy-wells"
"""The MLflow experiment of all runs."""
ARTIFACTS = "mlartifacts"
"""The folder for artifacts beside a local store."""
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""The columns (table, column) in which MLflow stores absolute artifact locations."""
WHEN = "ENERGY_WELLS_TRACK"
"""Environment variable: when the stage track logs, one of the values below."""
NOW, SOON, LATER = "now", "soon", "later"
"""Before the stage ends; in the background; left to the caller, such as `make repro`."""


def when() -> str:
    """When the stage track logs: by default in the background under DVC, otherwise at once."""
    return os.environ.get(WHEN) or (SOON if "DVC_STAGE" in os.environ else NOW)


def tracking_uri() -> str:
    """The URI of the store; a relative path of a database is resolved against the project's folder."""
    path = database()
    if path is None:
        return os.environ["MLFLOW_TRACKING_URI"]
    # MLflow misparses these characters in a URI; the relative path avoids those in the names of parent folders.
    return f"{SQLITE}{os.path.relpath(path) if set('?#%') & set(str(path)) else path}"


def database() -> Path | None:
    """The file of the store if it is an SQLite database without URI options, otherwise None."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    name = given.removeprefix(SQLITE)
    return root() / name if given.startswith(SQLITE) and name and "?" not in name else None


def folder() -> Path:
    """The folder of a local store's database, which also holds its other files."""
    path = database()
    return path.parent if path else root()


def check() -> None:
    """Check that a local database can be opened, since MLflow would retry for two minutes before it fails.

    Raises:
        UserError: the database cannot be opened.
    """
    path = database()
    if path is None:
        return
    try:
        with closing(sqlite3.connect(path)) as store:
            store.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be opened: {error}") from None


def artifacts() -> str:
    """The URI of the folder with the artifacts of a local store."""
    return (folder().absolute() / ARTIFACTS).as_uri()


def update_locations() -> None:
    """Update the artifact locations in a local store after the project was moved or copied.

    MLflow stores absolute locations and would keep writing into the old folder.

    Raises:
        UserError: the database cannot be read.
    """
    path, here = database(), artifacts()
    if path is None or not path.exists():
        return
    try:
        with closing(sqlite3.connect(path)) as store, store:
            known = {
                (table, column[1])
                for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                for column in store.execute(f"PRAGMA table_info('{table}')")
            }
            if LOCATIONS[0] not in known:
                return
            found = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
            before = found[0] if found else here
            if before == here or not before.startswith("file:") or not before.endswith(f"/{ARTIFACTS}"):
                return
            for table, column in LOCATIONS:
                if (table, column) in known:
                    store.execute(  # both names come from LOCATIONS
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                        (here, len(before) + 1, len(before) + 1, f"{before}/"),
                    )
            store.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", (here, EXPERIMENT))
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def limit_retries() -> None:
    """Make MLflow try a request to a server twice, for 20 s each; its default is seven retries and 120 s each.

    Call this before mlflow is imported.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def is_server() -> bool:
    """Whether the store is a tracking server, which chooses the artifact location itself."""
    return tracking_uri().startswith(("http://", "https://"))
