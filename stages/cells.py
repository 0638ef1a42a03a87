"""The studies of studies.yaml: which cells they have, and what decides what is written of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from stages import digests, files
from stages.errors import UserError
from stages.imports import ROOT, deciding
from stages.schema import MNIST_PREFIX, Block

FILE = Path("studies.yaml")
REPORTS = files.STUDIES
PARTS = {
    "mog": ("data", "perturb", "train", "evaluate"),
    "mnist": ("data", "perturb", "baseline", "train", "evaluate"),
    "mnist_reconstruct": ("data", "perturb", "baseline", "train", "reconstruct", "reconstruct_evaluate"),
}
"""The stages that every cell runs: of the mixture, of phase 1 on the images, and of both phases."""
IMAGES = ("seed", "threads", "processes", "collapse", "mnist", "mnist_perturbations", "mnist_severity")
DECISIVE = {
    "mog": ("seed", "seeds", "threads", "collapse", "mog", "langevin", "annealed"),
    "mnist": IMAGES,
    "mnist_reconstruct": (*IMAGES, "mnist_reconstruct"),
}
"""The params, beside the method's own, that decide the figures of a world."""


class Study(Block):
    """One study: its methods, the params that are varied, the figures that are kept, whether claims are decided.

    Every combination of the `grid` is a cell; params of `together` change in step, by their place in the list. `settings` hold
    in all cells. Where there are `runs`, each cell is run with each of these seeds and its figures are over them. `{method}`
    in the name of a param stands for the method of the cell. `studies` says which study takes the place of one that claims
    name; claims are of the world `mog` alone.
    """

    world: Literal["mog", "mnist", "mnist_reconstruct"] = "mog"
    methods: Annotated[list[str], Field(min_length=1)]
    settings: dict[str, Any] = Field(default_factory=dict)
    runs: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    together: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    keep: Annotated[list[str], Field(min_length=1)]
    claims: bool = False
    studies: dict[str, str] = Field(default_factory=dict)

    @property
    def images(self) -> bool:
        """Whether the study is about the images."""
        return self.world != "mog"


def load(name: str, path: Path = FILE) -> Study:
    """The study of that name.

    Raises:
        UserError: there is none, or it is not written as a study is.
    """
    studies = yaml.safe_load(path.read_text(encoding="utf-8"))
    if name not in studies:
        raise UserError(f"{name!r} is no study of {path}: expected one of {', '.join(sorted(studies))}")
    try:
        return Study.model_validate(studies[name])
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{path}: {name}.{place}: {error.errors()[0]['msg']}") from None


def cells(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method with every combination of the varied params, and with what is set in all cells."""
    steps = list(zip(*study.together.values(), strict=True)) or [()]
    for method in study.methods:
        names = [key.format(method=method) for key in (*study.grid, *study.together)]
        fixed = {key.format(method=method): value for key, value in study.settings.items()}
        for values in itertools.product(*study.grid.values(), steps):
            yield method, fixed | dict(zip(names, (*values[:-1], *values[-1]), strict=True))


def runs(study: Study, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of every run of a cell: one for each of the study's seeds, or one with the seed of params.yaml."""
    return [{**settings, "seed": seed} for seed in study.runs] or [dict(settings)]


def with_settings(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of params.yaml with dotted keys set.

    Raises:
        UserError: there is no such key.
    """
    changed: dict[str, Any] = json.loads(json.dumps(raw))
    for key, value in settings.items():
        *groups, last = key.split(".")
        block = changed
        for group in groups:
            block = block.get(group, {})
        if last not in block:
            raise UserError(f"{FILE}: there is no param {key}")
        block[last] = value
    return changed


def digest(study: Study, raw: Mapping[str, Any]) -> str:
    """The sha256 of what decides what is written of a study: the code of its stages, the params of its cells, what is kept.

    Code that only checks params does not count.
    """
    starts = [ROOT / f"stages/{folder(study)}/{part}.py" for part in PARTS[study.world]]
    starts += [ROOT / f"stages/methods/{method}.py" for method in study.methods]
    files = set[Path]().union(*(deciding(start) for start in starts))
    code = {str(file.relative_to(ROOT)): digests.of_file(file) for file in sorted(files)}
    params = []
    for method, settings in cells(study):
        cell = with_settings(raw, settings)
        params.append({key: cell[key] for key in (*DECISIVE[study.world], block(study, method))})
    content = [code, params, study.keep, study.claims, *([study.runs] if study.runs else [])]
    return digests.of_content(content)


def folder(study: Study) -> str:
    """Where the stages of the study's world lie."""
    return "mnist" if study.images else "mog"


def block(study: Study, method: str) -> str:
    """The params block of a method in the study's world."""
    return MNIST_PREFIX + method if study.images else method


def preset(study: Study, raw: Mapping[str, Any]) -> str:
    """The mixture that all cells are of, or nothing where they differ in it."""
    presets = study.grid.get("mog.preset", [raw["mog"]["preset"]])
    return str(presets[0]) if len(presets) == 1 else ""


def varied(study: Study) -> dict[str, list[Any]]:
    """The params by which cells are told apart."""
    return {**study.grid, **study.together}
