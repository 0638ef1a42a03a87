"""Leftovers: outputs of stages that are no longer in the pipeline, such as those of a method removed from `methods`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.dag.lock import entries, file_md5, outputs, pipeline


def leftovers() -> Iterator[tuple[Path, str]]:
    """Outputs, with their digests, of the stages in dvc.lock that dvc.yaml no longer defines.

    Paths that a current stage writes and paths outside the project are excluded.
    """
    stages = pipeline(with_track=True)
    written = {path for entry in stages.values() for path in _outputs(entry)}
    for name, digests in outputs(entries()).items():
        for path, digest in ((Path(path), digest) for path, digest in digests.items()) if name not in stages else ():
            inside = path.parent.resolve().is_relative_to(Path.cwd().resolve())
            if inside and path.exists() and not any(path.is_relative_to(one) or one.is_relative_to(path) for one in written):
                yield path, digest


def _outputs(entry: Mapping[str, Any]) -> Iterator[Path]:
    """The output paths of a stage in dvc.yaml, where each is a string or a mapping to options."""
    for kind in ("outs", "metrics", "plots"):
        for out in entry.get(kind, []):
            for path in [out] if isinstance(out, str) else out:
                yield Path(path)


def remove(*, reproducing: bool | None = None) -> None:
    """Remove the leftovers during a reproduction, before a stage mistakes them for current results.

    DVC does not remove them. A stage that reads a folder with a leftover would be stale in a clone, which lacks that file.
    Files that were modified since DVC recorded them are kept.

    Args:
        reproducing: whether the pipeline is being reproduced; by default, whether DVC started this process.
    """
    if not ("DVC_STAGE" in os.environ if reproducing is None else reproducing):
        return
    # DVC itself reports an unreadable dvc.lock.
    with suppress(UserError):
        for path, digest in list(leftovers()):
            if file_md5(path) != digest:
                print(f"{path} no longer belongs to a stage; it was modified and is kept", flush=True)
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            with suppress(OSError):  # stop at the first folder that is not empty
                for folder in path.parents[:-2]:
                    folder.rmdir()
