"""Outputs of stages that the pipeline no longer has, such as those of a method that was taken out of `methods`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.config.params import read
from stages.core.errors import UserError
from stages.dag.lock import entries, file_md5, outputs, pipeline


def leftovers() -> Iterator[tuple[Path, str]]:
    """Outputs, with their digests, of the stages in dvc.lock that dvc.yaml with these params does not have.

    Paths that a present stage writes are not among them, nor are paths outside the project.
    """
    stages = pipeline(read(), last=True)
    wanted = {path for name, entry in stages.items() for path in _written(entry, name.partition("@")[2])}
    for name, digests in outputs(entries()).items():
        for path, digest in ((Path(path), digest) for path, digest in digests.items()) if name not in stages else ():
            here = path.parent.resolve().is_relative_to(Path.cwd().resolve())
            if here and path.exists() and not any(path.is_relative_to(one) or one.is_relative_to(path) for one in wanted):
                yield path, digest


def _written(entry: Mapping[str, Any], item: str) -> Iterator[Path]:
    """The outputs of a stage as dvc.yaml has them, each by itself or with options."""
    for kind in ("outs", "metrics", "plots"):
        for out in entry.get(kind, []):
            for path in [out] if isinstance(out, str) else out:
                yield Path(path.replace("${item}", item))


def remove(*, reproducing: bool | None = None) -> None:
    """Remove the leftovers while the pipeline is reproduced, before a stage takes them for results of this run.

    DVC leaves them where they are, and a stage that reads the folder in which one lies would be stale in a clone, which lacks
    it. A file that was changed since it was made stays.

    Args:
        reproducing: whether the pipeline is being reproduced; by default, whether DVC started this process.
    """
    if not ("DVC_STAGE" in os.environ if reproducing is None else reproducing):
        return
    # An unreadable dvc.lock names no leftovers; DVC itself reports it.
    with suppress(UserError):
        for path, digest in list(leftovers()):
            if file_md5(path) != digest:
                print(f"{path} belongs to no stage any more; it was changed and is kept", flush=True)
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            with suppress(OSError):  # it ends at the first that is not empty
                for folder in path.parents[:-2]:
                    folder.rmdir()
