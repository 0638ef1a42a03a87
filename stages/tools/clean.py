"""`make clean`: remove what the pipeline made and git ignores; DVC's cache, the runs and files of your own stay."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.command import end
from stages.core.errors import UserError
from stages.core.paths import COSTS

if TYPE_CHECKING:
    from dvc.output import Output

ALSO = ("reports/reproduction.*", "data/**/.unfinished.*", "models/**/.unfinished.*", "reports/**/.unfinished.*")
"""What stages and tools leave besides the outputs."""


def made(output: Output) -> list[Path] | None:
    """The files of an output, as far as they are what dvc.lock has of it; None where DVC's cache has lost what that is."""
    path = Path(output.fs_path)
    if not (output.hash_info and output.hash_info.isdir):
        return [path]
    tree = output.get_obj()
    return None if tree is None else [path.joinpath(*key) for key, _, _ in tree]


def remove(output: Output) -> None:
    """Remove the files of an output, and the folders that are empty then."""
    files, folder = made(output), Path(output.fs_path)
    for file in files or ():
        file.unlink(missing_ok=True)
    if not folder.is_dir():
        return
    for path in (*sorted(folder.rglob("*"), reverse=True), folder):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if folder.exists():
        why = "DVC's cache does not know its files" if files is None else "what is left in it is not the pipeline's"
        print(f"clean: {output} stays: {why}")


def main(_: Sequence[str]) -> None:
    """Remove what the pipeline made."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo, repo.lock:
            for output in (output for stage in repo.index.stages for output in stage.outs if output.use_cache):
                remove(output)
    except DvcException as error:
        raise UserError(" ".join(str(error).split())) from None
    shutil.rmtree(COSTS, ignore_errors=True)
    for pattern in ALSO:
        for path in Path().glob(pattern):
            path.unlink()


if __name__ == "__main__":
    end(main)
