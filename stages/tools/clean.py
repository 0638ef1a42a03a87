"""`make clean`: remove what the pipeline made and git ignores; DVC's cache, the runs and files of your own stay."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stages.core.command import end
from stages.core.errors import UserError
from stages.core.paths import COSTS
from stages.dag.lock import file_md5

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

ALSO = ("reports/reproduction.*", "data/**/.unfinished.*", "models/**/.unfinished.*", "reports/**/.unfinished.*")
"""What stages and tools leave besides the outputs."""


def made(output: Output) -> Mapping[Path, str] | None:
    """The files of an output with the digests in dvc.lock; None if these are unknown.

    The list of a folder's files lies in DVC's cache, which may have lost it.
    """
    path = Path(output.fs_path)
    if not output.hash_info:
        return None
    if not output.hash_info.isdir:
        return {path: str(output.hash_info.value)}
    tree = output.get_obj()
    return None if tree is None else {path.joinpath(*key): str(digest.value) for key, _, digest in tree}


def remove(output: Output) -> None:
    """Remove the files of an output that are as they were made, and the folders that are empty then."""
    files, path = made(output), Path(output.fs_path)
    for file, digest in (files or {}).items():
        if file.is_file() and file_md5(file) == digest:
            file.unlink()
    if path.is_dir():
        for folder in (*sorted(path.rglob("*"), reverse=True), path):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()
    if path.is_file() or any(not one.is_dir() for one in path.rglob("*")):
        why = "it is not known which of its files were made" if files is None else "not all of it is as it was made"
        print(f"clean: {output} stays: {why}")


def busy(repo: Repo) -> bool:
    """Whether a stage is running: DVC lists the processes that read or write each output."""
    from dvc.rwlock import RWLOCK_FILE

    try:
        held = json.loads((Path(repo.tmp_dir or "") / RWLOCK_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    holders = [*chain.from_iterable(held.get("read", {}).values()), *held.get("write", {}).values()]
    return any(psutil.pid_exists(holder["pid"]) for holder in holders)


def main(_: Sequence[str]) -> None:
    """Remove what the pipeline made."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo, repo.lock:
            if busy(repo):
                raise UserError("the pipeline is running")
            for stage in repo.index.stages:
                # A file that somebody added with `dvc add`, or another pipeline, is not ours.
                for output in stage.outs if stage.path_in_repo == "dvc.yaml" else ():
                    if output.use_cache:
                        remove(output)
    except DvcException as error:
        raise UserError(" ".join(str(error).split())) from None
    shutil.rmtree(COSTS, ignore_errors=True)
    for pattern in ALSO:
        for path in Path().glob(pattern):
            path.unlink()


if __name__ == "__main__":
    end(main)
