"""Where runs are logged: `MLFLOW_TRACKING_URI` where that is set, else mlflow.db beside the project's dvc.yaml.

The project's folder is also meant from the temporary copies in which `dvc exp run --temp` and `--queue` work.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from stages.core.errors import UserError
from stages.core.paths import root

SQLITE = "sqlite:///"
EXPERIMENT = "energy-wells"
"""The name of the experiment that all runs are in."""
ARTIFACTS = "mlartifacts"
"""The folder beside a local store with the files of its runs."""
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""The columns in which MLflow notes where files lie, once for ever."""
WHEN = "ENERGY_WELLS_TRACK"
"""Environment variable by which stage track is told when to log."""
NOW, SOON, LATER = "now", "soon", "later"
"""Before it ends; in the background; not by itself, since whoever called it will do so, as `make repro` does."""


def when() -> str:
    """When stage track logs: where nothing else is said, in the background for DVC, and at once for a person."""
    return os.environ.get(WHEN) or (SOON if "DVC_STAGE" in os.environ else NOW)


def tracking_uri() -> str:
    """The address of the store; a database that is named relatively is so to the project's folder."""
    path = database()
    if path is None:
        return os.environ["MLFLOW_TRACKING_URI"]
    # MLflow misreads these characters in an address. A path relative to the project does not contain its folder's name.
    return f"{SQLITE}{os.path.relpath(path) if set('?#%') & set(str(path)) else path}"


def database() -> Path | None:
    """The file of the store, where it is an SQLite database whose address has no options."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    name = given.removeprefix(SQLITE)
    return root() / name if given.startswith(SQLITE) and name and "?" not in name else None


def folder() -> Path:
    """Where what belongs to a local store lies: beside its database."""
    path = database()
    return path.parent if path else root()


def check() -> None:
    """See whether a database can be opened: MLflow tries for two minutes before it says that it cannot.

    Raises:
        UserError: it cannot.
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
    """The address of the folder with the files of a local store."""
    return (folder().absolute() / ARTIFACTS).as_uri()


def follow() -> None:
    """Where the project was moved or copied, have the store look for its files here: MLflow would write into the old folder.

    Raises:
        UserError: the store cannot be read, or is not MLflow's.
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
                    store.execute(  # names of our own
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                        (here, len(before) + 1, len(before) + 1, f"{before}/"),
                    )
            store.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", (here, EXPERIMENT))
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def be_impatient() -> None:
    """Let MLflow ask a server twice and no more, for 20 s each; its own patience is seven times two minutes.

    To be called before mlflow is imported.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def is_server() -> bool:
    """Whether a tracking server keeps the runs, which then knows by itself where artifacts go."""
    return tracking_uri().startswith(("http://", "https://"))
