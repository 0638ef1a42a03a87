"""Params at the edge of what makes sense: the pipeline works, or says in one line what is wrong; NaN is in no result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.config.params import load, read
from stages.core.paths import ROOT
from stages.pipeline import files
from tests import small

METHODS = load(ROOT / "params.yaml").methods
BRIEFLY = {name: {"train": {"steps": 20, "batch_size": 64, "warmup": 2}} for name in METHODS}


def domain(means: Any, covariances: Any, box: float = 5.0) -> dict[str, Any]:
    """The params of another mixture, of equal weights."""
    count, ends = len(means), [-box, box]
    preset = {"means": means, "covariances": covariances, "weights": count * [1 / count], "box": {"x": ends, "y": ends}}
    return {"mog": {"preset": "edge"}, "mixtures.yaml": {"edge": preset}}


ROUND = [[1.0, 0.0], [0.0, 1.0]]
EDGES: dict[str, dict[str, Any]] = {
    "one seed": {"seeds": 1},
    "one component": domain([[0, 0]], [ROUND]),
    "equal components": domain([[0, 0], [0, 0]], [ROUND, ROUND]),
    "one training point": {"mog": {"train_points": 1, "evaluation": {"neighbours": 1, "readout_neighbours": 1}}},
    "two training points": {"mog": {"train_points": 2, "evaluation": {"neighbours": 1, "readout_neighbours": 1}}},
    "a covariance that is singular": domain([[0, 0]], [[[1, 1], [1, 1]]]),
    "identical points": domain([[1, 1]], [[[1e-30, 0], [0, 1e-30]]]),
    "nearly identical points": domain([[1, 1]], [[[1e-12, 0], [0, 1e-12]]]),
    "a covariance near singular": domain([[0, 0], [3, 3]], [[[1, 0.9999999], [0.9999999, 1]], ROUND]),
    "a domain far from the origin": domain([[1e6, 1e6], [1e6, -1e6]], [ROUND, ROUND], box=2e6),
    "a domain beyond single precision": domain([[1e60, 0], [-1e60, 0]], 2 * [[[1e118, 0], [0, 1e118]]], box=1e61),
    "a box far from the data": domain([[1000, 0], [-1000, 0]], [ROUND, ROUND]),
    "batches larger than the data": {name: {"train": {"batch_size": 2000}} for name in METHODS},
    "a grid of one node": {"mog": {"evaluation": {"grid": 1}}},
    "the smallest grid": {"mog": {"evaluation": {"grid": 10}}},
    "an exploding chain": {"langevin": {"step_size": 1e9}, "annealed": {"step_ratio": 1e9}},
    "hardly any noise": {"dsm": {"sigma": 1e-20}},
    "more noise than data": {"dsm": {"sigma": 1e20}},
    "a diverging training": {name: {"train": {"learning_rate": 1e20}} for name in METHODS},
}


IMAGES = ("mnist_jepa_ema", "mnist_contrastive")
STRENGTHS = load(ROOT / "params.yaml").mnist_perturbations.model_dump()
IMAGE_EDGES: dict[str, dict[str, Any]] = {
    "a diverging training on images": {name: {"train": {"learning_rate": 1e20}} for name in IMAGES},
    "a diverging decoder": {"mnist_reconstruct": {"train": {"learning_rate": 1e20}}},
    "batches of two images": {name: {"train": {"batch_size": 2}} for name in IMAGES},
    "the largest batches of images": {name: {"train": {"batch_size": 1200}} for name in IMAGES},
    "batches larger than the images": {name: {"train": {"batch_size": 1201}} for name in IMAGES},
    "one neighbour": {"mnist": {"evaluation": {"neighbours": 1}}},
    "all images as neighbours": {"mnist": {"evaluation": {"neighbours": 1200}}},
    "one step": {name: {"train": {"steps": 1, "warmup": 0}} for name in (*IMAGES, "mnist_reconstruct")},
    "nothing perturbed": {"mnist_perturbations": {name: {"probability": 0.0} for name in STRENGTHS}},
    "everything perturbed": {"mnist_perturbations": {name: {"probability": 1.0} for name in STRENGTHS}},
    "uniform grey": {"mnist_perturbations": {"inversion": {"probability": 1.0, "amount": 0.5}}},
    "two embedding dimensions": {name: {"encoder": {"dim": 2}} for name in IMAGES},
    "few images": {
        "mnist": {"train_images": 100, "test_images": 20, "validation_images": 20}
        | {"snapshot_images": 10, "evaluation": {"robustness_images": 10, "labels": [10], "retrieval_queries": 10}},
        "mnist_contrastive": {"train": {"batch_size": 32}},
    },
}


def ending(folder: Path, *targets: str) -> str:
    """How stages end: each works, or is refused in one line; no file that they leave holds a number that is not finite."""
    run = small.start(folder, "dvc", "repro", "--keep-going", *targets)
    said = small.rest_of(run)
    assert "Traceback" not in said, said
    refusals = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")]
    assert len(refusals) == len(re.findall("exited with [0-9]", said)) and bool(refusals) == (run.returncode != 0), said
    for path in [path for place in ("data", "models", "reports") for path in (folder / place).rglob("*.npz")]:
        for name, array in files.read_arrays(path).items():
            assert array.dtype.kind != "f" or np.isfinite(array).all(), (path, name)
    for path in folder.glob("models/**/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in files.read_tensors(path).values()), path
    for path in folder.glob("reports/curves/**/*.csv"):
        assert not {"nan", "inf", "-inf"} & set(path.read_text().replace("\n", ",").split(",")), path
    for path in folder.glob("reports/**/*.json"):
        json.loads(path.read_text(), parse_constant=lambda what, path=path: pytest.fail(f"{path} holds {what}"))
    if not refusals:
        return "works"
    others = list(dict.fromkeys(line.split(":")[0] for line in refusals[1:]))
    return f"refused: {refusals[0]}" + (f"; and likewise {', '.join(others)}" if others else "")


def unknown(change: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The keys of a change that the params lack."""
    return [
        key
        for key, value in change.items()
        if key not in there or (isinstance(there[key], Mapping) and isinstance(value, Mapping) and unknown(value, there[key]))
    ]


@pytest.mark.parametrize("edge", [*EDGES, *IMAGE_EDGES])
def test_an_edge_is_one_of_params_that_there_are(edge: str) -> None:
    change = {key: value for key, value in {**EDGES, **IMAGE_EDGES}[edge].items() if key != "mixtures.yaml"}
    assert not unknown(change, read())


@pytest.mark.nightly
@pytest.mark.parametrize("edge", EDGES)
def test_params_of_the_mixture_at_the_edge(tmp_path: Path, edge: str, record_property: Callable[[str, object], None]) -> None:
    folder = small.clone(tmp_path / "clone")
    small.change_params(folder, {"methods": METHODS, **BRIEFLY})
    small.change_params(folder, EDGES[edge])
    record_property("ended", ending(folder, "mog_figures", "claims"))


@pytest.mark.nightly
@pytest.mark.parametrize("edge", IMAGE_EDGES)
def test_params_of_the_images_at_the_edge(tmp_path: Path, edge: str, record_property: Callable[[str, object], None]) -> None:
    folder = small.clone(tmp_path / "clone")
    small.change_params(folder, IMAGE_EDGES[edge])
    record_property("ended", ending(folder, "mnist_figures"))
