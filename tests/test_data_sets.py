"""Data sets of other kinds through all stages on the images, to the tables, the figures and the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages import compare, report
from stages.config import params
from stages.mnist import baseline, evaluate, perturb, reconstruct, reconstruct_evaluate, train
from stages.mnist import compare as mnist_compare
from stages.mnist import data as mnist_data
from stages.mnist import figures as mnist_figures
from stages.pipeline import artifacts, files
from stages.pixels import data as pixels_data
from stages.pixels import evaluate as pixels_evaluate
from stages.pixels import figures as pixels_figures
from stages.pixels import train as pixels_train
from tests import small

SHAPES = ("disc", "ring", "bar")
"""Classes of the drawn images."""
PLAIN: dict[str, Any] = {"perturbations": {}, "digits": False}
"""Params of a data set with the usual augmentations and no digits."""


def drawn(shape: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """A grey image of a shape at a random place, with noise."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2 + rng.normal(size=(2, 1, 1))
    radius = np.hypot(x, y) / side
    ink = {"disc": radius < 0.25, "ring": np.abs(radius - 0.3) < 0.08, "bar": np.abs(x) < side / 8}[shape]
    return np.clip(255 * ink * rng.uniform(0.6, 1) + rng.normal(0, 10, (side, side)), 0, 255).astype(np.uint8)


def class_folders(folder: Path) -> dict[str, Any]:
    """Grey images of 12 × 12 pixels in class folders; half of them are larger and are resized."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        (folder / "shapes" / shape).mkdir(parents=True)
        for number in range(100):
            side = 12 + 6 * (number % 2)
            Image.fromarray(drawn(shape, side, rng)).save(folder / f"shapes/{shape}/{number:03}.png")
    return {"side": 12, "channels": 1, **PLAIN, "sources": [{"kind": "images", "location": "shapes"}]}


def colour_arrays(folder: Path) -> dict[str, Any]:
    """Colour images of 9 × 9 pixels in an npz file: red discs and green bars."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 240), ("test", 60)):
        labels = np.arange(count) % 2
        images = np.zeros((count, 9, 9, 3), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[..., label] = drawn(("disc", "bar")[label], 9, rng)
        arrays |= {part: images, f"{part}_labels": labels}
    np.savez(folder / "coloured.npz", classes=np.array(["red disc", "green bar"]), **arrays)
    return {"side": 9, "channels": 3, **PLAIN, "sources": [{"kind": "npz", "location": "coloured.npz"}]}


def photographs(folder: Path) -> dict[str, Any]:
    """The colour patches of scikit-learn's photographs, mirrored in training instead of inverted, as in params.yaml."""
    known: dict[str, Any] = params.read(folder / "params.yaml")["mnist"]["datasets"]["photographs"]
    return known


KINDS: dict[str, tuple[Callable[[Path], dict[str, Any]], tuple[int, ...], list[str]]] = {
    "class folders": (class_folders, (12, 12), sorted(SHAPES)),
    "colour arrays": (colour_arrays, (9, 9, 3), ["red disc", "green bar"]),
    "photographs": (photographs, (16, 16, 3), ["china", "flower"]),
}
"""Data sets: how they are made, the shape of an image, and the names of the classes."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_set_of_any_kind_reaches_the_page(copied: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    make, shape, classes = KINDS[kind]

    title = "Some things"
    datasets = {"things": {**make(copied), "title": title}}
    small.change_params(copied, {"mnist": {"dataset": "things", "datasets": datasets, "methods": ["jepa_ema"]}})
    monkeypatch.chdir(copied)
    loaded = params.load()
    mnist_data.main(loaded)
    perturb.main(loaded)
    baseline.main(loaded)
    for stage in (train, evaluate, reconstruct, reconstruct_evaluate):
        stage.main(loaded, "jepa_ema")
    mnist_compare.main(loaded)
    mnist_figures.main(loaded)
    pixels_data.main(loaded)
    for stage in (pixels_train, pixels_evaluate, pixels_figures):
        stage.main(loaded, "diffusion")
    compare.main(loaded)
    report.main(loaded)

    assert files.read_json(artifacts.CLASSES) == {"classes": classes}
    reconstructed = files.read_arrays(artifacts.fields("mnist", "jepa_ema.reconstruction"))
    assert reconstructed["original"].shape[1:] == reconstructed["reconstructed"].shape[1:] == shape
    assert len(reconstructed["interpolation_labels"]) == len(classes)
    metrics = files.read_json(artifacts.metrics("mnist", "jepa_ema"))
    assert metrics["knn"]["accuracy"]["mean"] > 1 / len(classes), "better than chance even at this size"
    assert metrics["reconstruction"]["mse"]["mean"] > 0 and "transfer" not in metrics
    page = artifacts.PAGE.read_text()
    shown = re.sub(r"<(details|style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    for text in (shown, artifacts.MNIST_TABLES.read_text()):
        assert title in text
        assert not re.search(r"\b[Dd]igits?\b|MNIST|9901", re.sub(r"<[^>]*>", " ", text))
    images = (artifacts.page_data("", "images")).read_text()
    assert all(name in images for name in classes)
