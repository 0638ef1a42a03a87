"""`make verify`: is every file that DVC keeps what its name says, and every output what dvc.lock says?

DVC does not look into a file of its cache that is write-protected, nor into an output whose size and time are those that it
remembers. So a bit that a disk lost stays, and a run that takes the file from the cache takes the damage with it. This reads
them all, removes from the cache what is damaged, and has DVC look anew at outputs that are not as it remembers; `dvc repro`
then makes good what is gone. Prints a line for each; status 0, since nothing damaged is left where DVC would trust it. What a
stage that was killed had not finished writing is removed once it is a day old. A DVC that is killed while it writes dvc.lock,
or the list of what it works on, leaves a file that it refuses to run with: dvc.lock is put aside, the list is removed.
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

from stages.config.params import read
from stages.core import repository
from stages.core.command import end
from stages.core.errors import UserError
from stages.dag.lock import LOCK, file_md5, locked_stages, outputs

if TYPE_CHECKING:
    from dvc.repo import Repo

UNFINISHED = ".unfinished."
"""How the names of files begin that are not complete (files.py)."""
WRITTEN = (Path(".checkpoints"), Path("data"), Path("models"), Path("reports"))
"""Where stages write."""
CONFLICT = re.compile(rb"(?m)^(<{7}|={7}|>{7})")
"""Lines that git leaves in a file for its user to choose between."""
DAY = 24 * 60 * 60
"""Seconds after which a file that is still unfinished belongs to no stage that runs."""


def objects(cache: Path) -> list[Path]:
    """The files of DVC's cache that this project may take: all of a cache of its own, what dvc.lock names of a shared one."""
    if cache.resolve().is_relative_to(Path.cwd()):
        return sorted(cache.glob("??/*"))
    named = {digest for digests in outputs(locked_stages(read())).values() for digest in digests.values() if digest}
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
            print(f"verify: {path} cannot be read ({error.strerror}) and is left as it is", flush=True)


def damaged_outputs() -> Iterator[Path]:
    """The outputs in the working directory that are not what dvc.lock says of them."""
    for digests in outputs(locked_stages(read())).values():
        for path, digest in ((Path(name), digest) for name, digest in digests.items()):
            # A pipeline that is running may take a file away.
            with suppress(FileNotFoundError):
                if digest and path.exists() and file_md5(path) != digest:
                    yield path


def unfinished() -> Iterator[Path]:
    """What was being written when its stage was killed, a day ago or earlier: nothing goes on from it."""
    for folder in WRITTEN:
        for path in folder.rglob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - DAY:
                    yield path


def remove_unreadable(repo: Repo) -> list[Path]:
    """Put dvc.lock aside, and remove DVC's list of what it works on, where DVC can't read them; returns the paths of these.

    A DVC that is writing one of them holds the lock that is taken here for it. A dvc.lock with a conflict of git stays.
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


def _held(repo: Repo) -> bool:
    """Whether another DVC holds the lock under which it reads and writes its files."""
    from dvc.lock import LockError

    try:
        with repo.lock:
            return False
    except LockError:
        return True


def main(_: Sequence[str]) -> None:
    """Look at every file once."""
    repository.check()
    from dvc.repo import Repo

    with Repo() as repo:
        cache = Path(repo.cache.local.path)
        unreadable = remove_unreadable(repo)
        try:
            damaged, content = list(damaged_outputs()), objects(cache)
        except UserError:
            if not _held(repo):
                raise
            # A DVC that runs is writing dvc.lock, and looks at the outputs itself.
            damaged, content = [], []
    for path in unreadable:
        kept = f"lies in .dvc/tmp now; `git checkout {LOCK}` brings the committed one back" if path == LOCK else "is removed"
        print(f"verify: {path} can't be read by DVC, as a killed one leaves it, and {kept}", flush=True)
    for path in damaged_objects(content):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            print(f"verify: {path} is damaged and cannot be removed from DVC's cache: {error.strerror}", flush=True)
        else:
            print(f"verify: {path} was damaged and is removed from DVC's cache", flush=True)
    for path in damaged:
        for file in path.rglob("*") if path.is_dir() else [path]:
            # DVC then reads it instead of remembering it.
            with suppress(FileNotFoundError):
                os.utime(file)
        print(f"verify: {path} is not as in {LOCK}: `dvc repro` makes it anew", flush=True)
    for path in unfinished():
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    end(main)
