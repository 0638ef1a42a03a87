"""Stage mnist_evaluate@METHOD: what the embedding and the reconstruction are worth.

Writes reports/metrics/mnist/METHOD.json; reports/embeddings/mnist/METHOD.npz with `train` (N, D) and `test` (M, D) exactly as
k-NN sees them and `train_labels`, `test_labels`; and reports/fields/mnist/METHOD.npz with what the figures are drawn from:
`steps` (T,) and `pca` (T, P, 2) of the first test images over training in one common projection, `confusion` (10, 10), and
`original`, `perturbed`, `reconstructed` (K, 28, 28).

Every choice was made on `knn_validation`, the held-out training images; the test images only report.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages import runtime
from stages.metrics import classification, collapse
from stages.metrics.measured import figure
from stages.metrics.neighbours import knn_classify
from stages.mnist import measure
from stages.mnist.decoders import trained_decoder
from stages.mnist.embed import as_seen, embed
from stages.mnist.models import MODELS, trained, untrained
from stages.params import Params

CLASSES = 10
SHOWN = 12
"""Images of the reconstruction figure."""


def main(params: Params, name: str) -> None:
    """Measure the method called `name`."""
    runtime.set_up_torch(params)
    device = runtime.device(params)
    mnist = params.mnist
    train, test = (runtime.read_arrays(Path(f"data/mnist/{part}.npz")) for part in ("train", "test"))
    perturbed = runtime.read_arrays(Path("data/mnist/perturbed.npz"))
    baseline = runtime.read_json(Path("reports/metrics/mnist_baseline.json"))
    labels = torch.from_numpy(train["labels"])

    def embeddings(method: Any, images: NDArray[np.uint8]) -> torch.Tensor:
        return embed(method, torch.from_numpy(images), device)

    def knn(index: torch.Tensor, queries: torch.Tensor, true: NDArray[np.int64]) -> tuple[dict[str, Any], NDArray[np.int64]]:
        predicted = knn_classify(index, labels[: len(index)], queries, mnist.neighbours).numpy()
        return {k: figure(v) for k, v in classification.report(true, predicted).items()}, predicted

    method = trained(params, name).to(device)
    raw_test = embeddings(method, test["images"])
    z_train, z_test = as_seen(method, embeddings(method, train["images"])), as_seen(method, raw_test)
    initial = untrained(params, name).to(device)
    initial_test = embeddings(initial, test["images"])
    initial_train = as_seen(initial, embeddings(initial, train["images"]))
    held_out = len(labels) - mnist.validation_images
    figures, predicted = knn(z_train, z_test, test["labels"])
    decoder = trained_decoder(params, name).to(device)
    views = {"mixed": perturbed["mixed"], "without_affine": perturbed["mixed_without_affine"], "clean": test["images"]}
    reconstructed = {key: measure.reconstruct(decoder, images, device) for key, images in views.items()}
    closeness = {key: measure.closeness(test["images"] / 255, images) for key, images in reconstructed.items()}
    few = test["labels"][: mnist.robustness_images]
    before, after = (z.double().numpy()[None] for z in (initial_test, raw_test))
    metrics = {
        "knn": figures,
        "knn_raw_pixels": baseline["knn_raw_pixels"],
        "knn_untrained": knn(initial_train, as_seen(initial, initial_test), test["labels"])[0],
        "knn_validation": knn(z_train[:held_out], z_train[held_out:], train["labels"][held_out:])[0],
        "linear_probe": {"accuracy": figure(measure.linear_probe(z_train, labels, z_test, test["labels"]))},
        "collapse": collapse.report(after, before, bounds=params.collapse.model_dump()),
        "robustness_clean": {"accuracy": figure((predicted[: len(few)] == few).mean())},
        "robustness": {
            kind: {
                f"{strength:g}": knn(z_train, as_seen(method, embeddings(method, images)), few)[0]["accuracy"]
                for strength, images in zip(mnist.strengths, perturbed[kind], strict=True)
            }
            for kind in params.mnist_severity.model_dump()
        },
        "reconstruction": {
            **closeness["mixed"],
            "without_affine": closeness["without_affine"],
            "clean": closeness["clean"],
            **baseline["references"],
        },
    }
    runtime.write_json(Path(f"reports/metrics/mnist/{name}.json"), metrics)
    runtime.write_arrays(
        Path(f"reports/embeddings/mnist/{name}.npz"),
        {
            "train": z_train.numpy(),
            "test": z_test.numpy(),
            "train_labels": train["labels"],
            "test_labels": test["labels"],
        },
    )
    snapshots = runtime.read_arrays(MODELS / f"{name}.snapshots.npz")
    runtime.write_arrays(
        Path(f"reports/fields/mnist/{name}.npz"),
        {
            "steps": snapshots["steps"],
            "pca": measure.projections(snapshots["embedding"]),
            "confusion": classification.confusion(test["labels"], predicted, CLASSES),
            "original": test["images"][:SHOWN],
            "perturbed": perturbed["mixed"][:SHOWN],
            "reconstructed": reconstructed["mixed"][:SHOWN].astype(np.float32),
        },
    )


if __name__ == "__main__":
    runtime.run(main)
