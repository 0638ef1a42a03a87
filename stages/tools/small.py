"""The pipeline at small size: few methods, points and steps, and scikit-learn's digits instead of MNIST.

It runs all stages in a minute or two and without a download. Its metrics are meaningless.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from stages.config.yaml_file import read
from stages.core.paths import PARAMS as PARAMS_FILE
from stages.mnist.datasets.idx import write_idx
from stages.mnist.datasets.idx_folder import FILES
from stages.pipeline import digests

PARAMS: dict[str, Any] = {
    "seeds": 2,
    "threads": 1,
    "methods": ["contrastive", "dsm"],
    "mog": {
        "train_points": 500,
        "test_points": 300,
        "snapshots": 4,
        "evaluation": {"grid": 20, "walk_points": 5, "structure_points": 100, "score_points": 500, "denoising_draws": 1000},
    },
    "langevin": {"particles": 60, "steps": 40, "frames": 5},
    "contrastive": {"train": {"steps": 30, "batch_size": 64}},
    "dsm": {"train": {"steps": 30, "batch_size": 64, "warmup": 5}},
    "mnist": {
        "dataset": "enlarged",
        "methods": ["jepa_ema", "contrastive"],
        "train_images": 1400,
        "test_images": 300,
        "validation_images": 200,
        "snapshots": 3,
        "snapshot_images": 50,
        "evaluation": {"labels": [10, 100], "label_draws": 2, "retrieval_queries": 40, "shifts": 1, "robustness_images": 40},
    },
    "mnist_jepa_ema": {
        "encoder": {"channels": [4, 8, 8], "dim": 16},
        "predictor_width": 16,
        "train": {"steps": 30, "warmup": 5},
    },
    "mnist_contrastive": {
        "encoder": {"channels": [4, 8, 8], "dim": 16},
        "train": {"steps": 20, "batch_size": 64, "warmup": 5},
    },
    "pixels": {
        "methods": ["dsm", "ncsn", "diffusion", "flow_matching"],
        "modes": 3,
        "components": 8,
        "fitted_images": 300,
        "train_points": 200,
        "test_points": 20,
        "likelihood_points": 4,
        "samples": 16,
        "frames": 3,
        "langevin": {"steps": 10},
        "network": {"patch": 4, "channels": [8]},
        "train": {"steps": 10, "batch_size": 8, "warmup": 2},
    },
    "page": {"coarse": 8, "snapshots": 3, "points": 100, "reconstructions": 10},
    "mnist_reconstruct": {"channels": 4, "pca_components": 16, "train": {"steps": 20, "batch_size": 32, "warmup": 5}},
}
"""Changes of params.yaml."""


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with nested `changes` applied."""
    return {
        **base,
        **{k: merged(base[k], v) if isinstance(v, dict) and isinstance(base.get(k), dict) else v for k, v in changes.items()},
    }


def change_params(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change params.yaml in a clone, and the other YAML files whose names are keys of `changes`."""
    files = {name: change for name, change in changes.items() if name.endswith(".yaml")}
    files[PARAMS_FILE.name] = {name: change for name, change in changes.items() if name not in files}
    for name, change in files.items():
        path = folder / name
        path.write_text(yaml.safe_dump(merged(read(path), change), sort_keys=False), encoding="utf-8")


def shrink(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Shrink the pipeline in a clone, apply further `changes` of its params, and write its images."""
    found = write_digits(folder / "digits")
    dataset = {
        "title": "scikit-learn's digits",
        "side": 28,
        "channels": 1,
        "perturbations": {},
        "digits": True,
        "sources": [{"kind": "folder", "location": "digits"}],
        "digests": found,
    }
    change_params(folder, merged(merged(PARAMS, {"mnist": {"datasets": {"enlarged": dataset}}}), changes or {}))


def write_digits(folder: Path) -> dict[str, str]:
    """Write scikit-learn's digits, enlarged to 28 × 28, as four idx files; returns their digests."""
    digits = load_digits()
    images = np.clip(zoom(digits.images, (1, 3.5, 3.5), order=1) * 16, 0, 255).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    parts = {"train_images": images[:1400], "train_labels": labels[:1400], "test_images": images[1400:1700]}
    parts["test_labels"] = labels[1400:1700]
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, part in parts.items():
        (folder / FILES[name]).write_bytes(write_idx(part))
        found[name] = digests.of_file(folder / FILES[name])
    return found
