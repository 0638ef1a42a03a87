"""Stage mnist_evaluate@METHOD: evaluate the embedding of phase 1.

Writes reports/measured/mnist/METHOD.json, the metrics; reports/embeddings/mnist/METHOD.npz with `train` (N, D) and `test`
(M, D), in the form that k-NN uses, and `train_labels`, `test_labels`; the page's data, reports/page_data/mnist/METHOD.js
(pipeline/page_script.py); and reports/fields/mnist/METHOD.npz, from which figures and paired tests are made:

- `steps` (T,) and `pca` (T, P, 2): the first test images at each snapshot, in the projection of the last one; `pca_explained`
  (2,), the fraction of the last one's variance along each component;
- `predicted` and `predicted_untrained` (M,): classes of the test images by k-NN, for the trained and the untrained encoder;
- the results per image of `probes.downstream` for both encoders, and `robust_right` of `probes.robustness` for the trained one;
- `queries` (10,) and `nearest` (10, K): indices of test images and of their nearest neighbours among the test images.

All choices were made by `knn_validation`, on the held-out training images; the test images are only for the report.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.metrics import classification, collapse
from stages.metrics.neighbours import Index, knn_classify, nearest
from stages.metrics.summary import fraction, over_seeds
from stages.mnist.encoder import probes
from stages.mnist.encoder.embed import embed, for_knn, with_statistics
from stages.mnist.encoder.models import trained, untrained
from stages.mnist.images.subset import held_out, kinds
from stages.nn.build import configured
from stages.pipeline import artifacts, files, page_script, runner, seeding

Labels = NDArray[np.int64]
SHOWN = 10
"""Neighbours shown for each query."""


def main(params: Params, name: str) -> None:
    """Measure the method called `name`."""
    seeding.set_up_torch(params.threads)
    device = seeding.device(params)
    mnist = params.mnist
    train, test = (files.read_arrays(artifacts.data("mnist", part)) for part in ("train", "test"))
    perturbed = files.read_arrays(artifacts.PERTURBED)
    small = probes.small_digits() if mnist.digits else None
    labels = torch.from_numpy(train["labels"])
    seed = seeding.stream(params, "mnist.labels")

    def knn(index: torch.Tensor, queries: torch.Tensor, true: Labels) -> tuple[dict[str, Any], Labels]:
        predicted = knn_classify(index, labels[: len(index)], queries, mnist.evaluation.neighbours).numpy()
        return {k: over_seeds(v) for k, v in classification.report(true, predicted).items()}, predicted

    def classify(images: NDArray[np.uint8]) -> Labels:
        found = knn_classify(index, labels, for_knn(method, embeddings(method, images)), mnist.evaluation.neighbours)
        return found.numpy()

    def downstream(model: Any, z_train: torch.Tensor, z_test: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
        others = (for_knn(model, embeddings(model, small[0])), small[1]) if small else None
        return probes.downstream(z_train, train["labels"], z_test, test["labels"], others, mnist=mnist, seed=seed)

    def embeddings(method: Any, images: NDArray[np.uint8]) -> torch.Tensor:
        return embed(method, torch.from_numpy(images), device, mnist.evaluation.shifts)

    method, initial = trained(params, name).to(device), untrained(params, name).to(device)
    raw = {key: embeddings(m, test["images"]) for key, m in (("trained", method), ("untrained", initial))}
    z_train, z_test = for_knn(method, embeddings(method, train["images"])), for_knn(method, raw["trained"])
    initial_train, initial_test = for_knn(initial, embeddings(initial, train["images"])), for_knn(initial, raw["untrained"])
    index = Index(z_train)
    scores, predicted = knn(z_train, z_test, test["labels"])
    scores_untrained, predicted_untrained = knn(initial_train, initial_test, test["labels"])
    # With its initial statistics BatchNorm does not normalise. With those of the images it gives the scale at step 0.
    at_start = embeddings(with_statistics(initial, torch.from_numpy(train["images"]), device), test["images"])
    before, after = (z.double().numpy()[None] for z in (at_start, raw["trained"]))
    of_trained = downstream(method, z_train, z_test)
    of_initial = downstream(initial, initial_train, initial_test)
    robust, robust_right = probes.robustness(classify, perturbed, test["labels"], kinds(perturbed), mnist.evaluation.strengths)
    _, schedule = configured(params, MNIST_PREFIX + name)
    metrics = {
        "thousand_images_seen": over_seeds(schedule.steps * schedule.batch_size / 1000),
        "knn": scores,
        "knn_untrained": scores_untrained,
        **_held_out(knn, z_train, train["labels"], held_out(len(z_train), mnist.validation_images)),
        "collapse": collapse.report(after, before, thresholds=params.collapse.model_dump()),
        **of_trained[0],
        "untrained": of_initial[0],
        "robustness_clean": {"accuracy": fraction((predicted == test["labels"])[perturbed["rows"]])},
        "robustness": robust,
    }
    files.write_json(artifacts.measured(name), metrics)
    files.write_arrays(
        artifacts.embeddings(name),
        {
            "train": z_train.numpy(),
            "test": z_test.numpy(),
            "train_labels": train["labels"],
            "test_labels": test["labels"],
        },
    )
    snapshots = files.read_arrays(artifacts.embedding_snapshots(name))
    queries, others = probes.examples(z_test, test["labels"], SHOWN)
    projected, explained = probes.projections(snapshots["embedding"])
    fields = {
        "steps": snapshots["steps"],
        "pca": projected,
        "pca_explained": explained,
        "predicted": predicted,
        "predicted_untrained": predicted_untrained,
        **of_trained[1],
        "robust_right": robust_right,
        **{f"{key}_untrained": values for key, values in of_initial[1].items()},
        "queries": queries,
        "nearest": others,
    }
    files.write_arrays(artifacts.fields("mnist", name), fields)
    close = nearest(index, z_test[: mnist.snapshot_images], mnist.evaluation.neighbours).numpy()
    content = page_data(fields, close, train["images"], train["labels"])
    page_script.write(artifacts.page_data("mnist", name), f"mnist/{name}", content)


def page_data(fields: dict[str, Any], close: Labels, images: NDArray[np.uint8], labels: Labels) -> dict[str, Any]:
    """The page's data on the first P test images.

    Args:
        fields: the content of reports/fields.
        close: indices (P, K) of the nearest training images, nearest first.
        images: all training images, bytes (N, H, W) or (N, H, W, 3).
        labels: their labels.

    Returns:
        `steps` (T,); `pca` (T, P, 2); `predicted` (P,), the classes by k-NN; `neighbours`, a sheet of the nearest training
        images, with `neighbour_labels`; and `nearest` (P, K), indices into these two.
    """
    used, places = np.unique(close, return_inverse=True)
    return {
        "steps": fields["steps"].tolist(),
        "pca": page_script.quantised(fields["pca"], "uint16"),
        "predicted": page_script.integers(fields["predicted"][: len(close)]),
        "nearest": page_script.integers(places.reshape(close.shape)),
        "neighbours": page_script.sheet(images[used]),
        "neighbour_labels": page_script.integers(labels[used]),
    }


def _held_out(knn: Any, z_train: torch.Tensor, labels: Labels, count: int) -> dict[str, Any]:
    """k-NN metrics of the held-out training images with the others as the index; empty if none are held out."""
    kept = len(z_train) - count
    return {"knn_validation": knn(z_train[:kept], z_train[kept:], labels[kept:])[0]} if count else {}


if __name__ == "__main__":
    runner.run(main)
