"""Stage mnist_baseline: baselines that need no training.

Writes reports/metrics/mnist_baseline.json: k-NN and the downstream tasks on raw pixels; and the distances of the mean training
image and of a principal component analysis from the test images. The analysis gets the clean images, so it is a reference and
not a competing method. Writes reports/fields/mnist/raw_pixels.npz with `predicted` (M,), the classes of the test images by
k-NN, and the results per image of `probes.downstream` and `probes.robustness`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from stages.config.params import Params
from stages.metrics import classification
from stages.metrics.neighbours import Index, knn_classify
from stages.metrics.summary import fraction, over_seeds
from stages.mnist.decoder.quality import closeness
from stages.mnist.encoder import probes
from stages.mnist.images.subset import kinds
from stages.pipeline import artifacts, files, runner, seeding

Labels = NDArray[np.int64]


def main(params: Params) -> None:
    """Measure the baselines."""
    seeding.set_up_torch(params.threads)
    train, test = (files.read_arrays(artifacts.data("mnist", part)) for part in ("train", "test"))
    perturbed = files.read_arrays(artifacts.PERTURBED)
    mnist, pca_components = params.mnist, params.mnist_reconstruct.pca_components
    small = probes.small_digits() if mnist.digits else None
    index, queries = as_pixels(train["images"]), as_pixels(test["images"])
    labels, prepared = torch.from_numpy(train["labels"]), Index(index)

    def knn(images: torch.Tensor) -> Labels:
        predicted: Labels = knn_classify(prepared, labels, images, mnist.evaluation.neighbours).numpy()
        return predicted

    predicted = knn(queries)
    metrics, by_image = probes.downstream(
        index,
        train["labels"],
        queries,
        test["labels"],
        (as_pixels(small[0]), small[1]) if small else None,
        mnist=mnist,
        seed=seeding.stream(params, "mnist.labels"),
    )
    metrics["robustness"], robust_right = probes.robustness(
        lambda images: knn(as_pixels(images)), perturbed, test["labels"], kinds(perturbed), mnist.evaluation.strengths
    )
    metrics["robustness_clean"] = {"accuracy": fraction((predicted == test["labels"])[perturbed["rows"]])}
    files.write_json(
        artifacts.BASELINE,
        {
            "knn_raw_pixels": {k: over_seeds(v) for k, v in classification.report(test["labels"], predicted).items()},
            "uses": metrics,
            "references": _references(index.numpy(), queries.numpy(), test["images"].shape, pca_components),
        },
    )
    raw = {"predicted": predicted, **by_image, "robust_right": robust_right}
    files.write_arrays(artifacts.RAW_PIXELS, raw)


def as_pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """Byte images (N, H, W) or (N, H, W, 3) as vectors of values in [0, 1], (N, d)."""
    return torch.from_numpy(images.reshape(len(images), -1) / np.float32(255))


def _references(
    train: NDArray[np.float32], test: NDArray[np.float32], shape: tuple[int, ...], components: int
) -> dict[str, Any]:
    """Distances of the mean training image and of `components` principal components from the test images (N, d).

    `shape` is that of the test images as arrays.
    """
    pca = PCA(min(components, *train.shape), svd_solver="covariance_eigh").fit(train)
    others = {
        "mean_image": np.broadcast_to(train.mean(0), test.shape),
        f"pca{components}": pca.inverse_transform(pca.transform(test)),
    }
    as_images = {name: rows.reshape(shape) for name, rows in (("test", test), *others.items())}
    return {f"{name}_{key}": value for name in others for key, value in closeness(as_images["test"], as_images[name]).items()}


if __name__ == "__main__":
    runner.run(main)
