"""Stage mnist_baseline: what needs no training, for every method to be held against.

Writes reports/metrics/mnist_baseline.json: k-NN on raw pixels and all other `uses` that embeddings are put to, and how close
the mean training image and a principal component analysis come to the test images. That analysis is given the clean images, so
it is a bound, not a contestant. Writes reports/fields/mnist/raw_pixels.npz with `predicted` (M,), what k-NN takes the test
images for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA

from stages import runtime
from stages.metrics import classification
from stages.metrics.measured import figure
from stages.metrics.neighbours import knn_classify
from stages.mnist import measure
from stages.mnist.quality import closeness
from stages.params import Params


def main(params: Params) -> None:
    """Measure the references."""
    runtime.set_up_torch(params)
    train, test = (runtime.read_arrays(Path(f"data/mnist/{part}.npz")) for part in ("train", "test"))
    pixels = {
        name: part["images"].reshape(len(part["images"]), -1) / np.float32(255)
        for name, part in (("train", train), ("test", test))
    }
    labels = torch.from_numpy(train["labels"])
    index, queries = torch.from_numpy(pixels["train"]), torch.from_numpy(pixels["test"])
    mnist = params.mnist
    predicted = knn_classify(index, labels, queries, mnist.neighbours).numpy()
    digits, digit_labels = measure.small_digits()
    small = torch.from_numpy(digits.reshape(len(digits), -1) / np.float32(255))
    uses = {
        "few_labels": measure.few_labels(
            index,
            train["labels"],
            queries,
            test["labels"],
            counts=mnist.labels,
            draws=mnist.label_draws,
            seed=runtime.stream(params, "mnist.labels"),
        ),
        "retrieval": measure.mean_average_precision(queries, test["labels"], mnist.retrieval_queries),
        "transfer": measure.transfer(index, labels, small, digit_labels, mnist.neighbours),
    }
    clean = pixels["test"].reshape(-1, 28, 28)
    mean = np.broadcast_to(pixels["train"].mean(0).reshape(28, 28), clean.shape)
    components = min(params.mnist_reconstruct.pca_components, *pixels["train"].shape)
    pca = PCA(components, svd_solver="covariance_eigh").fit(pixels["train"])
    compressed = pca.inverse_transform(pca.transform(pixels["test"])).reshape(-1, 28, 28)
    runtime.write_json(
        Path("reports/metrics/mnist_baseline.json"),
        {
            "knn_raw_pixels": {k: figure(v) for k, v in classification.report(test["labels"], predicted).items()},
            "uses": uses,
            "references": {
                f"{name}_{key}": value
                for name, other in (("mean_image", mean), (f"pca{params.mnist_reconstruct.pca_components}", compressed))
                for key, value in closeness(clean, other).items()
            },
        },
    )
    runtime.write_arrays(Path("reports/fields/mnist/raw_pixels.npz"), {"predicted": predicted})


if __name__ == "__main__":
    runtime.run(main)
