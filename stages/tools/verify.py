"""`make verify`: check that the files in DVC's cache match their digests and that the outputs match dvc.lock.

DVC trusts write-protected files in its cache, and outputs whose size and time have not changed. Silent corruption therefore
persists, and spreads when an output is restored from the cache. This reads all of these files, removes damaged ones from the
cache, and makes DVC read the outputs that differ from dvc.lock; `dvc repro` then restores what is missing. It prints a line for
each finding. The exit status is 0, since DVC no longer trusts a damaged file. Incomplete files of killed stages are removed
when they are a day old. If DVC was killed while it wrote dvc.lock or its list of files in use, it cannot read that file and
refuses to run; then dvc.lock is moved aside, and the list is removed.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core import repository
from stages.core.command import end
from stages.core.errors import UserError
from stages.dag.lock import LOCK, file_md5, locked_stages, outputs

if TYPE_CHECKING:
    from dvc.repo import Repo

UNFINISHED = ".unfinished."
"""The start of the names of incomplete files (files.py)."""
OUTPUT_FOLDERS = (Path(".checkpoints"), Path("data"), Path("models"), Path("reports"))
"""Folders that stages write to."""
CONFLICT = re.compile(rb"(?m)^(<{7}|={7}|>{7})")
"""The conflict markers of git."""
DAY = 24 * 60 * 60
"""Age in seconds at which an incomplete file no longer belongs to a running stage."""


def objects(cache: Path) -> list[Path]:
    """The files in DVC's cache that this project uses: all files of its own cache, those in dvc.lock of a shared cache."""
    if cache.resolve().is_relative_to(Path.cwd()):
        return sorted(cache.glob("??/*"))
    named = {digest for digests in outputs(locked_stages()).values() for digest in digests.values() if digest}
    for digest in [digest for digest in named if digest.endswith(".dir")]:
        with suppress(OSError, ValueError, TypeError, KeyError):
            named |= {entry["md5"] for entry in json.loads((cache / digest[:2] / digest[2:]).read_bytes())}
    return sorted(cache / digest[:2] / digest[2:] for digest in named)


def damaged_objects(paths: Sequence[Path]) -> Iterator[Path]:
    """Files of DVC's cache whose content does not match the digest in their name. Unreadable files are reported and skipped."""
    for path in paths:
        name = path.parent.name + path.name.removesuffix(".dir")
        try:
            if len(name) == 32 and path.is_file() and file_md5(path) != name:
                yield path
        except FileNotFoundError:
            continue
        except OSError as error:
            print(f"verify: {path} cannot be read ({error.strerror}) and is skipped", flush=True)


def damaged_outputs() -> Iterator[Path]:
    """The outputs in the working directory whose digests differ from dvc.lock."""
    for digests in outputs(locked_stages()).values():
        for path, digest in ((Path(name), digest) for name, digest in digests.items()):
            # A running pipeline may remove a file.
            with suppress(FileNotFoundError):
                if digest and path.exists() and file_md5(path) != digest:
                    yield path


def unfinished() -> Iterator[Path]:
    """Incomplete files that are at least a day old; no stage uses them."""
    for folder in OUTPUT_FOLDERS:
        for path in folder.rglob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - DAY:
                    yield path


def remove_unreadable(repo: Repo) -> list[Path]:
    """Move dvc.lock aside and remove DVC's list of files in use if DVC cannot read them; returns the paths concerned.

    Each file is read under the lock that DVC holds while it writes the file. A dvc.lock with conflict markers is kept.
    """
    from dvc.dvcfile import Lockfile
    from dvc.lock import LockError, make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

    folder, removed = Path(repo.tmp_dir or ""), []
    hardlink = repo.config["core"].get("hardlink_lock", False)
    with suppress(FileNotFoundError, LockError), make_lock(str(folder / RWLOCK_LOCK), str(folder), hardlink_lock=hardlink):
        try:
            json.loads((folder / RWLOCK_FILE).read_bytes())
        except ValueError:
            (folder / RWLOCK_FILE).unlink()
            removed.append(folder / RWLOCK_FILE)
    with suppress(FileNotFoundError, LockError), repo.lock:
        if not CONFLICT.search(LOCK.read_bytes()):
            try:
                Lockfile(repo, str(LOCK)).load()
            except (YAMLSyntaxError, YAMLValidationError):
                LOCK.replace(folder / LOCK.name)
                removed.append(LOCK)
    return removed


def _is_locked(repo: Repo) -> bool:
    """Whether another DVC process holds the lock of the repository."""
    from dvc.lock import LockError

    try:
        with repo.lock:
            return False
    except LockError:
        return True


def main(_: Sequence[str]) -> None:
    """Check all files, and repair what DVC would trust or fail on."""
    repository.check()
    from dvc.repo import Repo

    with Repo() as repo:
        cache = Path(repo.cache.local.path)
        unreadable = remove_unreadable(repo)
        try:
            damaged, content = list(damaged_outputs()), objects(cache)
        except UserError:
            if not _is_locked(repo):
                raise
            # Another DVC process is writing dvc.lock, and checks the outputs itself.
            damaged, content = [], []
    for path in unreadable:
        action = f"moved to .dvc/tmp; `git checkout {LOCK}` restores the committed one" if path == LOCK else "removed"
        print(f"verify: {path} cannot be read by DVC, probably because DVC was killed, and is {action}", flush=True)
    for path in damaged_objects(content):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            print(f"verify: {path} is damaged and cannot be removed from DVC's cache: {error.strerror}", flush=True)
        else:
            print(f"verify: {path} was damaged and is removed from DVC's cache", flush=True)
    for path in damaged:
        for file in path.rglob("*") if path.is_dir() else [path]:
            # With a new time, DVC reads the file instead of trusting the digest that it remembers.
            with suppress(FileNotFoundError):
                os.utime(file)
        print(f"verify: {path} differs from {LOCK}: `dvc repro` regenerates it", flush=True)
    for path in unfinished():
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    end(main)
