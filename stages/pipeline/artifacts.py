"""Paths of the artifacts, relative to the project's folder. Tools outside the project rely on them.

DOMAIN is `mog` or `mnist`; METHOD is the name of a module in stages/methods.
"""

from __future__ import annotations

from pathlib import Path

DATA, MODELS, REPORTS = Path("data"), Path("models"), Path("reports")
"""The top-level folders of all artifacts."""
MIXTURE = DATA / "mog/mixture.json"
"""Parameters of the mixture that the points were sampled from."""
PROTOCOL = DATA / "mog/protocol.json"
"""The evaluation params that all methods on the mixture share."""
VIEWS = DATA / "mog/views.npz"
"""Fixed noise and masks of the test points, shared by all methods."""
SPECTRUM = REPORTS / "fields/spectrum.npz"
"""Eigenvalues of the operator of the positive pairs, and its eigenfunctions on the grid."""
CLASSES = DATA / "mnist/classes.json"
"""`classes`, the names of the classes of the images in the order of their labels."""
PERTURBED = DATA / "mnist/perturbed.npz"
"""Test images under each perturbation at each strength."""
BASELINE = REPORTS / "metrics/mnist_baseline.json"
"""Metrics of raw pixels."""
RAW_PIXELS = REPORTS / "fields/mnist/raw_pixels.npz"
"""Predictions from raw pixels, per image."""
CLAIMS = REPORTS / "claims.json"
"""Claims with their measured values and verdicts."""
CLAIMS_TABLE = REPORTS / "claims.md"
"""The claims as Markdown."""
TABLE_JSON = REPORTS / "table.json"
"""Metrics, one row per method and domain."""
TABLES = REPORTS / "table.md"
"""The same metrics as Markdown tables."""
COMPARISON = REPORTS / "comparison.md"
"""The figures that compare the methods on the mixture, with captions."""
MNIST_TABLES = REPORTS / "mnist.md"
"""Comparison of the methods on the images as Markdown."""
MNIST_TESTS = REPORTS / "mnist_tests.json"
"""Paired tests of the embeddings of images, and warnings about methods that do not beat the baselines."""
SUMMARY = REPORTS / "metrics/summary.json"
"""The metrics that `dvc metrics show` prints."""
PAGE = REPORTS / "index.html"
"""The interactive page."""
FIGURES = REPORTS / "figures"
"""The folder of all figures."""
ANIMATIONS = REPORTS / "animations"
"""The folder of all animations."""
MACHINE = REPORTS / "machine.json"
"""Environment facts of the machine that made the results."""
ALL_METRICS = REPORTS / "metrics"
"""The folder of all metrics."""


def data(domain: str, part: str) -> Path:
    """The points or images of a split: `part` is train or test."""
    return DATA / domain / f"{part}.npz"


def digests(dataset: str) -> Path:
    """Digests of a data set of images that has none in params.yaml, from its first use; not an output of a stage."""
    return DATA / f"mnist/{dataset}.digests.yaml"


def weights(domain: str, method: str) -> Path:
    """A method's parameters: models/DOMAIN/METHOD.safetensors."""
    return MODELS / domain / f"{method}.safetensors"


def decoder(method: str) -> Path:
    """Parameters of the decoder that was trained on a method's embeddings."""
    return MODELS / f"mnist/{method}.decoder.safetensors"


def card(method: str) -> Path:
    """The model card of a method on the mixture, see pipeline/card.py."""
    return MODELS / f"mog/{method}.json"


def parameter_snapshots(method: str) -> Path:
    """Parameters of the first seed over training on the mixture."""
    return MODELS / f"mog/{method}.snapshots.safetensors"


def embedding_snapshots(method: str) -> Path:
    """Embeddings of test images over training on the images."""
    return MODELS / f"mnist/{method}.snapshots.npz"


def curves(domain: str, name: str) -> Path:
    """Learning curves: `name` is METHOD, or METHOD.reconstruction for phase 2."""
    return REPORTS / "curves" / domain / f"{name}.csv"


def metrics(domain: str, method: str) -> Path:
    """All metrics of a method."""
    return REPORTS / "metrics" / domain / f"{method}.json"


def measured(name: str) -> Path:
    """Metrics of one phase on the images, which mnist_compare merges: `name` is METHOD or METHOD.reconstruction."""
    return REPORTS / "measured/mnist" / f"{name}.json"


def fields(domain: str, name: str) -> Path:
    """Arrays that the figures show: `name` is METHOD, or METHOD.reconstruction for phase 2 on the images."""
    return REPORTS / "fields" / ("" if domain == "mog" else domain) / f"{name}.npz"


def embeddings(method: str) -> Path:
    """Embeddings of all images, as the k-NN classifier uses them."""
    return REPORTS / "embeddings/mnist" / f"{method}.npz"


def page_data(domain: str, name: str) -> Path:
    """Page data of a method: `name` is METHOD, METHOD.details, or METHOD.reconstruction for phase 2 on the images.

    What all methods share is in the domain "", as mixture, spectrum and images.
    """
    return REPORTS / "page_data" / domain / f"{name}.js"


def figures(domain: str, method: str = "") -> Path:
    """The folder of the figures of a domain, or of one method."""
    return FIGURES / domain / method


def animations(domain: str, method: str = "") -> Path:
    """The folder of the animations of a domain, or of one method."""
    return ANIMATIONS / domain / method
