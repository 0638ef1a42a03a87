"""Extreme params: the pipeline works or reports the mistake in one line, and no result has a non-finite value."""

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
SHORT_TRAININGS = {name: {"train": {"steps": 20, "batch_size": 64, "warmup": 2}} for name in METHODS}


def mixture(means: Any, covariances: Any, box: float = 5.0) -> dict[str, Any]:
    """Changes of the params that select a mixture with equal weights and a box from −`box` to `box`."""
    count, ends = len(means), [-box, box]
    preset = {"means": means, "covariances": covariances, "weights": count * [1 / count], "box": {"x": ends, "y": ends}}
    return {"mog": {"preset": "edge"}, "mixtures.yaml": {"edge": preset}}


IDENTITY = [[1.0, 0.0], [0.0, 1.0]]
MIXTURE_EDGE_CASES: dict[str, dict[str, Any]] = {
    "one seed": {"seeds": 1},
    "one component": mixture([[0, 0]], [IDENTITY]),
    "equal components": mixture([[0, 0], [0, 0]], [IDENTITY, IDENTITY]),
    "one training point": {"mog": {"train_points": 1, "evaluation": {"neighbours": 1, "readout_neighbours": 1}}},
    "two training points": {"mog": {"train_points": 2, "evaluation": {"neighbours": 1, "readout_neighbours": 1}}},
    "singular covariance": mixture([[0, 0]], [[[1, 1], [1, 1]]]),
    "identical points": mixture([[1, 1]], [[[1e-30, 0], [0, 1e-30]]]),
    "nearly identical points": mixture([[1, 1]], [[[1e-12, 0], [0, 1e-12]]]),
    "nearly singular covariance": mixture([[0, 0], [3, 3]], [[[1, 0.9999999], [0.9999999, 1]], IDENTITY]),
    "mixture far from the origin": mixture([[1e6, 1e6], [1e6, -1e6]], [IDENTITY, IDENTITY], box=2e6),
    "mixture beyond single precision": mixture([[1e60, 0], [-1e60, 0]], 2 * [[[1e118, 0], [0, 1e118]]], box=1e61),
    "data far outside the box": mixture([[1000, 0], [-1000, 0]], [IDENTITY, IDENTITY]),
    "batches larger than the data": {name: {"train": {"batch_size": 2000}} for name in METHODS},
    "grid of one node": {"mog": {"evaluation": {"grid": 1}}},
    "smallest grid": {"mog": {"evaluation": {"grid": 10}}},
    "exploding Langevin dynamics": {"langevin": {"step_size": 1e9}, "annealed": {"step_ratio": 1e9}},
    "noise level near zero": {"dsm": {"sigma": 1e-20}},
    "noise level far above the data": {"dsm": {"sigma": 1e20}},
    "diverging training": {name: {"train": {"learning_rate": 1e20}} for name in METHODS},
}


IMAGES = ("mnist_jepa_ema", "mnist_contrastive")
PERTURBATIONS = load(ROOT / "params.yaml").mnist_perturbations.model_dump()
IMAGE_EDGE_CASES: dict[str, dict[str, Any]] = {
    "diverging training on images": {name: {"train": {"learning_rate": 1e20}} for name in IMAGES},
    "diverging decoder": {"mnist_reconstruct": {"train": {"learning_rate": 1e20}}},
    "batches of two images": {name: {"train": {"batch_size": 2}} for name in IMAGES},
    "largest batches of images": {name: {"train": {"batch_size": 1200}} for name in IMAGES},
    "batches larger than the images": {name: {"train": {"batch_size": 1201}} for name in IMAGES},
    "one neighbour": {"mnist": {"evaluation": {"neighbours": 1}}},
    "all images as neighbours": {"mnist": {"evaluation": {"neighbours": 1200}}},
    "one step": {name: {"train": {"steps": 1, "warmup": 0}} for name in (*IMAGES, "mnist_reconstruct")},
    "no augmentation": {"mnist_perturbations": {name: {"probability": 0.0} for name in PERTURBATIONS}},
    "every augmentation of every image": {"mnist_perturbations": {name: {"probability": 1.0} for name in PERTURBATIONS}},
    "uniform grey views": {"mnist_perturbations": {"inversion": {"probability": 1.0, "amount": 0.5}}},
    "two embedding dimensions": {name: {"encoder": {"dim": 2}} for name in IMAGES},
    "few images": {
        "mnist": {"train_images": 100, "test_images": 20, "validation_images": 20}
        | {"snapshot_images": 10, "evaluation": {"robustness_images": 10, "labels": [10], "retrieval_queries": 10}},
        "mnist_contrastive": {"train": {"batch_size": 32}},
    },
}


def outcome(folder: Path, *targets: str) -> str:
    """Run stages and describe the outcome.

    Checks that each stage works or fails with an error of one line, and that no file has a non-finite number.
    """
    run = small.start(folder, "dvc", "repro", "--keep-going", *targets)
    output = small.rest_of(run)
    assert "Traceback" not in output, output
    errors = [line.removeprefix("error: ") for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(re.findall("exited with [0-9]", output)) and bool(errors) == (run.returncode != 0), output
    for path in [path for part in ("data", "models", "reports") for path in (folder / part).rglob("*.npz")]:
        for name, array in files.read_arrays(path).items():
            assert array.dtype.kind != "f" or np.isfinite(array).all(), (path, name)
    for path in folder.glob("models/**/*.safetensors"):
        assert all(tensor.isfinite().all() for tensor in files.read_tensors(path).values()), path
    for path in folder.glob("reports/curves/**/*.csv"):
        assert not {"nan", "inf", "-inf"} & set(path.read_text().replace("\n", ",").split(",")), path
    for path in folder.glob("reports/**/*.json"):
        json.loads(path.read_text(), parse_constant=lambda name, path=path: pytest.fail(f"{path} contains {name}"))
    if not errors:
        return "works"
    others = list(dict.fromkeys(line.split(":")[0] for line in errors[1:]))
    return f"rejected: {errors[0]}" + (f"; likewise {', '.join(others)}" if others else "")


def unknown_keys(change: Mapping[str, Any], params: Mapping[str, Any]) -> list[str]:
    """The keys of a change that do not exist in the params."""
    return [
        key
        for key, value in change.items()
        if key not in params
        or (isinstance(params[key], Mapping) and isinstance(value, Mapping) and unknown_keys(value, params[key]))
    ]


@pytest.mark.parametrize("case", [*MIXTURE_EDGE_CASES, *IMAGE_EDGE_CASES])
def test_every_edge_case_changes_existing_params(case: str) -> None:
    change = {key: value for key, value in {**MIXTURE_EDGE_CASES, **IMAGE_EDGE_CASES}[case].items() if key != "mixtures.yaml"}
    assert not unknown_keys(change, read())


@pytest.mark.nightly
@pytest.mark.parametrize("case", MIXTURE_EDGE_CASES)
def test_extreme_params_of_the_mixture_work_or_are_rejected_in_one_line(
    tmp_path: Path, case: str, record_property: Callable[[str, object], None]
) -> None:
    folder = small.clone(tmp_path / "clone")
    small.change_params(folder, {"methods": METHODS, **SHORT_TRAININGS})
    small.change_params(folder, MIXTURE_EDGE_CASES[case])
    record_property("ended", outcome(folder, "mog_figures", "claims"))


@pytest.mark.nightly
@pytest.mark.parametrize("case", IMAGE_EDGE_CASES)
def test_extreme_params_of_the_images_work_or_are_rejected_in_one_line(
    tmp_path: Path, case: str, record_property: Callable[[str, object], None]
) -> None:
    folder = small.clone(tmp_path / "clone")
    small.change_params(folder, IMAGE_EDGE_CASES[case])
    record_property("ended", outcome(folder, "mnist_figures"))
