"""A small pipeline in a temporary clone: two methods on the mixture, one on images, all at tiny sizes."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from stages.imports import ROOT
from stages.mnist.sources import FILES, write_idx

SMALL: dict[str, Any] = {
    "seeds": 2,
    "threads": 1,
    "methods": ["contrastive", "dsm"],
    "mog": {
        "train_points": 500,
        "test_points": 300,
        "grid": 20,
        "walk_points": 5,
        "snapshots": 4,
        "structure_points": 100,
        "score_points": 500,
        "denoising_draws": 1000,
    },
    "langevin": {"particles": 60, "steps": 40, "frames": 5},
    "contrastive": {"train": {"steps": 30, "batch_size": 64}},
    "dsm": {"train": {"steps": 30, "batch_size": 64, "warmup": 5}},
    "mnist": {
        "dataset": "digits",
        "methods": ["jepa_ema", "contrastive"],
        "labels": [10, 100],
        "label_draws": 2,
        "retrieval_queries": 40,
        "train_images": 1400,
        "test_images": 300,
        "validation_images": 200,
        "robustness_images": 40,
        "snapshots": 3,
        "snapshot_images": 50,
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
    "atlas": {"coarse": 8, "moments": 3, "points": 100, "reconstructions": 10},
    "mnist_reconstruct": {"channels": 4, "pca_components": 16, "train": {"steps": 20, "batch_size": 32, "warmup": 5}},
}


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who has the project's tools on the path and no tracking server."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{keep['PATH']}"
    return {**keep, **who, "GIT_COMMITTER_EMAIL": "a@example.org", "PATH": path, "DVC_NO_ANALYTICS": "1", **more}


def run(folder: Path, *command: str, status: int = 0, **more: str) -> str:
    """Run a command in the clone and return what it printed; another exit status than expected is a failure."""
    done = subprocess.run(command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{output[-4000:]}"
    return output


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with the nested `changes`."""
    return {
        **base,
        **{k: merged(base[k], v) if isinstance(v, dict) and isinstance(base.get(k), dict) else v for k, v in changes.items()},
    }


def change_params(folder: Path, changes: dict[str, Any]) -> None:
    """Change the clone's params.yaml."""
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes), sort_keys=False))


def clone(folder: Path) -> Path:
    """A clone of the working tree, committed, with the small params and scikit-learn's 8 × 8 digits as idx files."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    for name in filter(None, names.split("\0")):
        keeps = not name.startswith("reports/") or name.startswith("reports/studies/")
        keeps = keeps and name != "dvc.lock" and (ROOT / name).is_file()
        if keeps:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    digests = write_digits(folder / "digits")
    dataset = {"sources": [{"kind": "folder", "location": "digits"}], "digests": digests}
    change_params(folder, merged(SMALL, {"mnist": {"datasets": {"digits": dataset}}}))
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message=small")
    return folder


def write_digits(folder: Path) -> dict[str, str]:
    """Write the digits as four idx files of 28 × 28 images; returns their digests."""
    digits = load_digits()
    images = np.clip(zoom(digits.images, (1, 3.5, 3.5), order=1) * 16, 0, 255).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    parts = {"train_images": images[:1400], "train_labels": labels[:1400], "test_images": images[1400:1700]}
    parts["test_labels"] = labels[1400:1700]
    folder.mkdir(parents=True)
    digests = {}
    for name, part in parts.items():
        content = write_idx(part)
        (folder / FILES[name]).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def free_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def stages_run(output: str) -> set[str]:
    """The stages that DVC says it ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")}
