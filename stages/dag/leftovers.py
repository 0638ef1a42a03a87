"""What a stage made that the pipeline no longer has, such as that of a method which was taken out of `methods`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from stages.config.params import read
from stages.core.errors import UserError
from stages.dag.lock import entries, outputs, pipeline


def leftovers() -> Iterator[Path]:
    """The outputs in the working directory of stages that dvc.lock has and dvc.yaml, with these params, has not.

    What a stage writes under another name now is none: the paths that count are those of dvc.yaml.
    """
    stages = pipeline(read(), last=True)
    wanted = {path for name, entry in stages.items() for path in _written(entry, name.partition("@")[2])}
    for name, paths in outputs(entries()).items():
        for path in map(Path, paths) if name not in stages else ():
            if path.exists() and not any(path.is_relative_to(one) or one.is_relative_to(path) for one in wanted):
                yield path


def _written(entry: Mapping[str, Any], item: str) -> Iterator[Path]:
    """The outputs of a stage as dvc.yaml has them, each by itself or with options."""
    for kind in ("outs", "metrics", "plots"):
        for out in entry.get(kind, []):
            for path in [out] if isinstance(out, str) else out:
                yield Path(path.replace("${item}", item))


def remove() -> None:
    """Remove them, before anybody takes them for results of this run.

    DVC leaves them where they are. A stage that reads the folder in which one lies would be stale in a clone, which lacks it.
    """
    # Where dvc.lock cannot be read nothing is known of them.
    with suppress(UserError):
        for path in list(leftovers()):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            with suppress(OSError):  # it ends at the first that is not empty
                for folder in path.parents[:-2]:
                    folder.rmdir()
