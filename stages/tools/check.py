"""`make check`: validate params.yaml with the blocks of all methods, mixtures.yaml and claims.yaml, and nothing else.

python -m stages.tools.check [PARAMS]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.config import claims, mixture, params
from stages.core.command import end
from stages.core.paths import PARAMS
from stages.nn.build import configured


def check(path: Path = PARAMS) -> params.Params:
    """Validate a params file with all its blocks.

    Raises:
        InvalidParams: with one line about the first mistake.
    """
    loaded = params.load(path)
    for block in loaded.blocks:
        configured(loaded, block)
    return loaded


def main(arguments: Sequence[str]) -> None:
    """Check the params file that is named, or all files of the project."""
    if arguments:
        check(Path(arguments[0]))
    else:
        mixture.chosen(check().mog)
        claims.load()


if __name__ == "__main__":
    end(main)
