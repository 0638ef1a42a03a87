"""Access to DVC's repository, with its errors as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextmanager
def open_repo(folder: Path | None = None, **options: Any) -> Iterator[Repo]:
    """DVC's repository of a folder, by default the working directory; `options` are those of DVC's `Repo`.

    Raises:
        UserError: DVC raised an error, on opening the repository or in the body.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(folder and str(folder), **options) as repo:
            yield repo
    except DvcException as error:
        raise UserError(" ".join(str(error).split())) from None
