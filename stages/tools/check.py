"""`make check`: validate params.yaml with the blocks of all methods, mixtures.yaml and claims.yaml; name studies to renew.

    python -m stages.tools.check [PARAMS]

With PARAMS, only that params file is validated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.config import claims, mixture, params
from stages.core.command import end
from stages.core.errors import UserError
from stages.core.paths import PARAMS
from stages.nn.build import configured
from stages.pixels.networks.build import settings
from stages.studies import grid
from stages.studies.engine import Project, states
from stages.studies.state import claimed


def check(path: Path = PARAMS) -> params.Params:
    """Validate a params file with the blocks of all its methods.

    Raises:
        InvalidParams: a value is not accepted; the message is one line about the first one.
    """
    loaded = params.load(path)
    for block in loaded.blocks:
        configured(loaded, block)
    for name in loaded.pixels.settings:
        settings(loaded, name)
    return loaded


def main(arguments: Sequence[str]) -> None:
    """Validate the given params file, or all files of the project; then print which studies are not current."""
    if arguments:
        check(Path(arguments[0]))
    else:
        mixture.chosen(check().mog)
        known, decided = grid.names(), claims.load()
        for name, claim in decided.criteria.items():
            for study in claim.turns_in:
                if study not in known:
                    raise UserError(f"claims.yaml: criteria.{name}.turns_in: {study!r} is none of {', '.join(known)}")
        for study, state in states(Project.load()).items():
            needed = " (claims need it)" if study in claimed(decided) else ""
            for notice in state.notices(study):
                print(f"study {study}{needed}: {state.name}: {notice}")


if __name__ == "__main__":
    end(main)
