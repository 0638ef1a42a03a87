"""Paths of the artifacts, relative to the project's folder. They are the contract with tools outside the project.

DOMAIN is `mog` or `mnist`; METHOD is the name of a method's file in stages/methods.
"""

from __future__ import annotations

from pathlib import Path

DATA, MODELS, REPORTS = Path("data"), Path("models"), Path("reports")
MIXTURE = DATA / "mog/mixture.json"
"""The mixture that the points were sampled from."""
PROTOCOL = DATA / "mog/protocol.json"
"""The params of all evaluations on the mixture."""
VIEWS = DATA / "mog/views.npz"
"""Fixed noise and masks of the test points."""
PERTURBED = DATA / "mnist/perturbed.npz"
"""Test images under each perturbation at each strength."""
BASELINE = REPORTS / "metrics/mnist_baseline.json"
"""Metrics of raw pixels."""
RAW_PIXELS = REPORTS / "fields/mnist/raw_pixels.npz"
"""Predictions from raw pixels, per image."""
CLAIMS = REPORTS / "claims.json"
CLAIMS_TABLE = REPORTS / "claims.md"
TABLE = REPORTS / "table.json"
TABLES = REPORTS / "table.md"
COMPARISON = REPORTS / "comparison.md"
"""Captions of the pictures that compare the methods on the mixture."""
MNIST_TABLES = REPORTS / "mnist.md"
SUMMARY = REPORTS / "metrics/summary.json"
"""The metrics that `dvc metrics show` prints."""
PAGE = REPORTS / "index.html"
DOMAINS = REPORTS / "page_data/domains.js"
"""The page's data that all methods share."""
FIGURES = REPORTS / "figures"
ANIMATIONS = REPORTS / "animations"
MACHINE = REPORTS / "machine.json"
"""Environment facts of the machine that made each result."""
ALL_METRICS = REPORTS / "metrics"
"""The folder of all metrics."""


def data(domain: str, part: str) -> Path:
    """Points or images: `part` is train or test."""
    return DATA / domain / f"{part}.npz"


def weights(domain: str, method: str) -> Path:
    """A method's parameters: models/DOMAIN/METHOD.safetensors."""
    return MODELS / domain / f"{method}.safetensors"


def decoder(method: str) -> Path:
    """The parameters of the decoder that was trained on a method's embeddings."""
    return MODELS / f"mnist/{method}.decoder.safetensors"


def card(method: str) -> Path:
    """The params that a method on the mixture was trained with."""
    return MODELS / f"mog/{method}.json"


def parameter_snapshots(method: str) -> Path:
    """The first seed's parameters over training on the mixture."""
    return MODELS / f"mog/{method}.snapshots.safetensors"


def embedding_snapshots(method: str) -> Path:
    """Embeddings of test images over training."""
    return MODELS / f"mnist/{method}.snapshots.npz"


def curves(domain: str, name: str) -> Path:
    """Learning curves: `name` is METHOD, or METHOD.reconstruction for phase 2."""
    return REPORTS / "curves" / domain / f"{name}.csv"


def metrics(domain: str, method: str) -> Path:
    """All metrics of a method."""
    return REPORTS / "metrics" / domain / f"{method}.json"


def measured(name: str) -> Path:
    """Metrics of one phase on the images, which mnist_compare joins: `name` is METHOD or METHOD.reconstruction."""
    return REPORTS / "measured/mnist" / f"{name}.json"


def fields(domain: str, name: str) -> Path:
    """Arrays of the figures: `name` is METHOD, or METHOD.reconstruction for phase 2 on the images."""
    return REPORTS / "fields" / ("" if domain == "mog" else domain) / f"{name}.npz"


def embeddings(method: str) -> Path:
    """Embeddings of all images, as the k-NN classifier sees them."""
    return REPORTS / "embeddings/mnist" / f"{method}.npz"


def page_data(domain: str, name: str) -> Path:
    """The page's data of a method: `name` is METHOD, or METHOD.reconstruction for phase 2 on the images."""
    return REPORTS / "page_data" / domain / f"{name}.js"


def figures(domain: str, method: str = "") -> Path:
    """The folder of a domain's or of a method's pictures."""
    return FIGURES / domain / method


def animations(domain: str, method: str = "") -> Path:
    """The folder of a domain's or of a method's animations."""
    return ANIMATIONS / domain / method
