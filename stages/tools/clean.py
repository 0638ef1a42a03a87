"""`make clean`: remove the pipeline's outputs that git ignores; DVC's cache, MLflow's runs and all other files are kept."""

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
from stages.dag.dvc_repo import open_repo
from stages.dag.lock import file_md5

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

TEMPORARY = ("reports/reproduction.*", "data/**/.unfinished.*", "models/**/.unfinished.*", "reports/**/.unfinished.*")
"""Files other than outputs: the report of `make reproduce` and incomplete files of killed stages."""


def recorded_files(output: Output) -> Mapping[Path, str] | None:
    """The files of an output with their digests in dvc.lock; None if the digests are unknown.

    The file list of a folder is in DVC's cache, where it may be missing.
    """
    path = Path(output.fs_path)
    if not output.hash_info:
        return None
    if not output.hash_info.isdir:
        return {path: str(output.hash_info.value)}
    tree = output.get_obj()
    return None if tree is None else {path.joinpath(*key): str(digest.value) for key, _, digest in tree}


def remove(output: Output) -> None:
    """Remove the unchanged files of an output, then its empty folders; print a line if anything is kept."""
    files, path = recorded_files(output), Path(output.fs_path)
    for file, digest in (files or {}).items():
        if file.is_file() and file_md5(file) == digest:
            file.unlink()
    if path.is_dir():
        for folder in (*sorted(path.rglob("*"), reverse=True), path):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()
    if path.is_file() or any(not one.is_dir() for one in path.rglob("*")):
        reason = "its files are not recorded" if files is None else "it has files that were changed or added"
        print(f"clean: {output} is kept: {reason}")


def is_running(repo: Repo) -> bool:
    """Whether a stage is running, by DVC's list of the processes that read or write outputs."""
    from dvc.rwlock import RWLOCK_FILE

    try:
        locks = json.loads((Path(repo.tmp_dir or "") / RWLOCK_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    holders = [*chain.from_iterable(locks.get("read", {}).values()), *locks.get("write", {}).values()]
    return any(psutil.pid_exists(holder["pid"]) for holder in holders)


def main(_: Sequence[str]) -> None:
    """Remove the outputs and the temporary files of the pipeline.

    Raises:
        UserError: the pipeline is running, or DVC fails.
    """
    with open_repo() as repo, repo.lock:
        if is_running(repo):
            raise UserError("the pipeline is running")
        for stage in repo.index.stages:
            # Files of `dvc add` and outputs of other pipelines are not this pipeline's.
            for output in stage.outs if stage.path_in_repo == "dvc.yaml" else ():
                if output.use_cache:
                    remove(output)
    shutil.rmtree(COSTS, ignore_errors=True)
    for pattern in TEMPORARY:
        for path in Path().glob(pattern):
            path.unlink()


if __name__ == "__main__":
    end(main)
