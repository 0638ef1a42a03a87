"""Identity of a study's run: a digest of the code, the params and the data that determine its metrics.

Two runs with the same identity have the same metrics on the same kind of machine. The code is that of the method and of the
stages of its domain (see code.py), without validation, text and plotting. The params are those that dvc.yaml declares for these
stages. Images enter by their digests, so their location is irrelevant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.pipeline import digests
from stages.studies import code
from stages.studies.grid import Domain, Run, with_settings

STAGES = {
    "mog": ("mog_data", "mog_train", "mog_evaluate"),
    "mnist": ("mnist_data", "mnist_perturb", "mnist_train", "mnist_evaluate"),
    "mnist_reconstruct": (
        *("mnist_data", "mnist_perturb", "mnist_train"),
        *("mnist_reconstruct", "mnist_reconstruct_evaluate"),
    ),
    "pixels": ("mnist_data", "mnist_train", "pixels_data", "pixels_train", "pixels_evaluate"),
}
"""The stages of dvc.yaml that a run executes: on the mixture, in phase 1 on the images, in both phases, and in pixel space."""
ENCODER = "mnist.methods[0]"
"""The method on whose embeddings images are compared in pixel space; of the domain `pixels` mnist_train trains it."""
IRRELEVANT_CODE = (
    "stages.core",
    "stages.config",
    "stages.mnist.datasets",
    "stages.mnist.evaluate.page_data",
    "stages.mnist.reconstruct_evaluate.page_data",
    "stages.mog.evaluation.page_data",
    "stages.pipeline.page_script",
    "stages.pipeline.runner",
)
"""Code that no metric depends on: validation, error messages, downloads checked by digest, page data and run costs."""
RELEVANT_EXCEPTIONS = (
    "stages.config.images.Mnist.chosen",
    "stages.config.images.Mnist.digits",
    "stages.config.mixture.chosen",
    "stages.pipeline.runner.fix_arithmetic",
)
"""Definitions within `IRRELEVANT_CODE` that some metrics depend on; they are part of every identity."""
AUGMENTATIONS = "stages.config.schema.Settings.augmentations"
"""Such a definition that only the identities of runs on images have."""
IRRELEVANT_PARAMS = ("page",)
"""Params blocks that no metric depends on."""

DATASETS = "mnist.datasets"
"""The block with the data sets of images."""
DATASET_DEFAULTS: dict[str, Any] = {"digests": {}}
"""Values of params of a data set that its block can leave out."""
USUAL = {"digits": True, "side": 28, "channels": 1, "perturbations": {}}
"""Values of params of a data set with which they are not part of an identity, since they were introduced later."""


@dataclass(frozen=True)
class RunDigests:
    """Digests of what determines the metrics of a run.

    Args:
        identity: digest of the code and the params.
        values: digest of the values of the params without their names. A refactoring leaves it unchanged.
    """

    identity: str
    values: str


def run_digests(run: Run, raw: Mapping[str, Any], mixtures: Mapping[str, Any]) -> RunDigests:
    """The identity of a run and the digest of its params' values.

    Args:
        run: the run.
        raw: the content of params.yaml.
        mixtures: the content of mixtures.yaml.

    Raises:
        UserError: the run sets a param that does not exist.
    """
    own = with_settings(raw, run.settings)
    settings = params(run.domain, run.method, own, mixtures)
    others = sorted(set(_items(run.domain, run.method, own).values()) - {run.method})
    whole = digests.of_content([code_identity(run.domain, run.method, *others), settings])
    return RunDigests(whole, digests.of_content(sorted(map(repr, _leaves(settings)))))


def _leaves(value: Any) -> Iterator[Any]:
    """The leaves of nested mappings and lists, without their keys."""
    if isinstance(value, (Mapping, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(part)
    else:
        yield value


def _items(domain: Domain, method: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The method that each stage of a run trains or measures."""
    other = {"mnist_train": _at(settings, ENCODER)} if domain == "pixels" else {}
    return {stage: other.get(stage, method) for stage in STAGES[domain]}


def code_identity(domain: Domain, *methods: str) -> str:
    """The digest of the code that computes the metrics of a run, which trains these methods."""
    return digests.of_content([code.digest(root, IRRELEVANT_CODE) for root in roots(domain, *methods)])


def roots(domain: Domain, *methods: str) -> Iterator[str]:
    """Full names of the definitions that a run executes: `main` and the main block of each stage, and the methods' classes."""
    for stage in STAGES[domain]:
        module = _declared()[stage]["cmd"].split()[2]
        yield from (f"{module}.main", f"{module}.{code.MAIN_BLOCK}")
    yield from RELEVANT_EXCEPTIONS
    if domain != "mog":
        yield AUGMENTATIONS
    for method in methods:
        module = f"stages.methods.{method}"
        yield from sorted(f"{module}.{name}" for name in code.classes(module))


def commands(domain: Domain, method: str, settings: Mapping[str, Any]) -> list[str]:
    """The commands of a run's stages, in order; `settings` is the content of params.yaml for this run."""
    return [_filled(_declared()[stage]["cmd"], {"item": item}) for stage, item in _items(domain, method, settings).items()]


def params(domain: Domain, method: str, settings: Mapping[str, Any], mixtures: Mapping[str, Any]) -> dict[str, Any]:
    """The params that the stages of a run read, by their dotted names.

    Args:
        domain: domain of the study.
        method: the method that is trained and evaluated.
        settings: the content of params.yaml for this run.
        mixtures: the content of mixtures.yaml.

    Raises:
        UserError: dvc.yaml declares a param that does not exist.
    """
    found: dict[str, Any] = {}
    for stage, item in _items(domain, method, settings).items():
        for declared in _declared()[stage]["params"]:
            names, content = (declared, settings) if isinstance(declared, str) else (declared["mixtures.yaml"], mixtures)
            for name in [names] if isinstance(names, str) else names:
                key = _filled(name, {**settings, "item": item})
                if key.split(".")[0] not in IRRELEVANT_PARAMS:
                    found |= _of_images(content, key) if key.startswith(f"{DATASETS}.") else {key: _at(content, key)}
    return found


def _of_images(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The params of a data set's block that some metrics depend on, at and below a declared key.

    Digests identify the images; without digests in params.yaml, the sources do, so that a change of the files in them goes
    unnoticed. Usual values are left out.
    """
    name = ".".join(key.split(".")[:3])
    block = {**DATASET_DEFAULTS, **_at(content, name)}
    irrelevant = {"title", "classes", *(["sources"] if block["digests"] else [])}
    found = {f"{name}.{entry}": value for entry, value in block.items() if entry not in irrelevant}
    return {
        entry: value
        for entry, value in found.items()
        if f"{entry}.".startswith(f"{key}.") and USUAL.get(entry.rpartition(".")[2]) != value
    }


def clear_caches() -> None:
    """Clear the caches of the code and of dvc.yaml, which may have been edited since."""
    code.clear_caches()
    _declared.cache_clear()


@cache
def _declared() -> dict[str, dict[str, Any]]:
    """Command and declared params of every stage of dvc.yaml. mog_evaluate reads its params from the data of mog_data."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    plain = {name: stage.get("do", stage) for name, stage in stages.items()}
    return {name: {"cmd": stage["cmd"], "params": stage.get("params", [])} for name, stage in plain.items()}


def _filled(name: str, values: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{([\w.\[\]]+)\}", lambda found: str(_at(values, found[1])), name)


def _at(content: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; [N] is the N-th item of a list."""
    value: Any = content
    for part in re.findall(r"[^.\[\]]+", key):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError):
            raise UserError(f"dvc.yaml declares the param {key}, which does not exist") from None
    return value
