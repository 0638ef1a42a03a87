"""Metrics of joint embeddings: collapse, alignment and uniformity, structure, clusters, energy wells.

Embeddings are (S, N, D), float64, with the seeds as leading dimension; a metric has one value per seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.metrics import collapse, hypersphere, neighbours, score_error, structure
from stages.metrics.collapse import normalise
from stages.metrics.energy_wells import well_auroc
from stages.metrics.summary import over_seeds
from stages.mog.evaluation.model import Array, EvaluatedModel, apply
from stages.mog.problem.gaussian_mixture import Mixture
from stages.mog.problem.reference_path import reference_path
from stages.pipeline.concurrent import concurrently

Components = NDArray[np.int64]
REFERENCES = 100
"""Points that are used in turn as the reference point of a cosine energy."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings (S, N, D) of the training and the test points, and the components (N,) of these points."""

    train: Array
    test: Array
    train_component: Components
    test_component: Components


def evaluate_embeddings(model: EvaluatedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and fields of a joint-embedding method; its energy is −cos to the embedding of a reference point."""
    evaluation = model.protocol.evaluation
    x, few = model.test["x"].astype(np.float64), evaluation.structure_points
    components = model.train["component"], model.test["component"]
    second = x + evaluation.view_noise * model.views["noise"][0, 0]

    def embedded(method: Any) -> Embeddings:
        train, test = (apply(method.embed, part["x"], model.device) for part in (model.train, model.test))
        return Embeddings(train, test, *components)

    after, before = embedded(model.trained), embedded(model.untrained)
    raw = Embeddings(model.train["x"].astype(np.float64)[None], x[None], *components)

    def seen_by_loss(e: Embeddings) -> Embeddings:
        return Embeddings(normalise(e.train), normalise(e.test), *components) if model.trained.cosine else e

    cosine, k = model.trained.cosine, evaluation.neighbours
    structure_of, spread, clusters, (wells, landscapes) = concurrently(
        lambda: structure_metrics(x[:few], after.test[:, :few], before.test[:, :few], k, cosine),
        lambda: spread_metrics(after.test, apply(model.trained.embed, second, model.device)),
        lambda: cluster_metrics(model.mixture, raw, seen_by_loss(after), seen_by_loss(before), few, k),
        lambda: (_wells(model, after.test[:, :few], before.test[:, :few]), _landscapes(model)),
    )
    metrics = {
        "collapse": collapse.report(after.test, before.test, thresholds=model.protocol.collapse.model_dump()),
        **spread,
        "structure": structure_of,
        "clusters": clusters,
        "wells": wells,
    }
    return metrics, {"embedding": after.test, "embedding_untrained": before.test[0], **landscapes}


def structure_metrics(x: Array, z: Array, untrained: Array, k: int, cosine: bool) -> dict[str, Any]:
    """How well embeddings preserve the distances and the neighbourhoods of the points.

    `direction_spearman` is the rank correlation of distances between L2-normalised embeddings, which are all that a cosine
    loss sees. `delta_distance_spearman` is the rank correlation of the embeddings that the loss sees, after minus before
    training.

    Args:
        x: points (N, 2).
        z: embeddings after training, (S, N, D).
        untrained: embeddings before training, (S, N, D).
        k: neighbours in trustworthiness and continuity.
        cosine: whether the loss sees normalised embeddings only.
    """
    plane = structure.distance_ranks(x)

    def kept(embeddings: Array) -> list[float]:
        return [structure.correlation(plane, structure.distance_ranks(one)) for one in embeddings]

    distances = [kept(embeddings) for embeddings in (z, untrained)]
    directions = [kept(normalise(embeddings)) for embeddings in (z, untrained)]
    after, before = np.array(directions if cosine else distances)
    return {
        "distance_spearman": over_seeds(distances[0]),
        "distance_spearman_untrained": over_seeds(distances[1]),
        "direction_spearman": over_seeds(directions[0]),
        "direction_spearman_untrained": over_seeds(directions[1]),
        "delta_distance_spearman": over_seeds(after - before),
        "trustworthiness": over_seeds([structure.trustworthiness(x, one, k) for one in z]),
        "continuity": over_seeds([structure.continuity(x, one, k) for one in z]),
    }


def cluster_metrics(
    mixture: Mixture, points: Embeddings, trained: Embeddings, untrained: Embeddings, few: int, k: int
) -> dict[str, Any]:
    """How well the components are classified by k-NN, and how well they are separated, in the embeddings the loss sees.

    `delta_knn_accuracy_raw` and `delta_knn_accuracy_untrained` are the accuracy minus that on the points themselves and before
    training. `bayes_accuracy` is the upper bound. With a single component there is no silhouette.

    Args:
        mixture: of the points.
        points: the points themselves in place of embeddings, with S = 1.
        trained, untrained: embeddings after and before training.
        few: test points in the silhouette.
        k: neighbours.
    """
    train_component, test_component = points.train_component, points.test_component

    def accuracy(e: Embeddings) -> Array:
        return np.array(component_accuracy(e.train, train_component, e.test, test_component, k))

    def silhouette(e: Embeddings) -> list[float]:
        return [structure.silhouette(one[:few], test_component[:few]) for one in e.test]

    after, raw, before = accuracy(trained), accuracy(points), accuracy(untrained)
    which = {"silhouette": trained, "silhouette_raw": points, "silhouette_untrained": untrained}
    return {
        "knn_accuracy": over_seeds(after),
        "knn_accuracy_raw": over_seeds(raw),
        "knn_accuracy_untrained": over_seeds(before),
        "delta_knn_accuracy_raw": over_seeds(after - raw),
        "delta_knn_accuracy_untrained": over_seeds(after - before),
        "bayes_accuracy": over_seeds(mixture.bayes_accuracy(points.test[0], test_component)),
        **{name: over_seeds(silhouette(e)) for name, e in which.items() if len(mixture.weights) > 1},
    }


def component_accuracy(
    train: Array, train_component: Components, test: Array, test_component: Components, k: int
) -> list[float]:
    """Accuracy of k-NN in predicting the components, for each of the S embeddings (S, N, D)."""
    labels = torch.from_numpy(train_component)
    return [
        float((neighbours.knn_classify(torch.from_numpy(a), labels, torch.from_numpy(b), k).numpy() == test_component).mean())
        for a, b in zip(train, test, strict=True)
    ]


def spread_metrics(z: Array, second_view: Array) -> dict[str, Any]:
    """Alignment of two views' embeddings (S, N, D) and uniformity of the first."""
    return {
        "alignment": over_seeds(hypersphere.alignment(z, second_view)),
        "uniformity": over_seeds(hypersphere.uniformity(z)),
    }


def well_metrics(z: Array, component: Components, empty: Array) -> tuple[list[float], list[float]]:
    """AUROC and depth of the well of −cos(z(x), z(r)) around the data of r's component, averaged over references r.

    The AUROC (`well_auroc`) says how well the energy separates that data from empty space and is invariant to scale. The depth
    is the mean energy of empty space minus that of the data; collapse makes it 0.

    Args:
        z: embeddings of data points, (S, N, D); the first `REFERENCES` of them are used in turn as r.
        component: of these points, (N,).
        empty: embeddings of points in empty space, (S, M, D).

    Returns:
        AUROCs and depths, S each.
    """
    aurocs, depths = [], []
    for data, elsewhere in zip(normalise(z), normalise(empty), strict=True):
        references = data[:REFERENCES]
        energies = zip(-(references @ data.T), -(references @ elsewhere.T), component, strict=False)
        pairs = [(here[component == k], there) for here, there, k in energies]
        aurocs.append(float(np.mean([well_auroc(here, there) for here, there in pairs])))
        depths.append(float(np.mean([there.mean() - here.mean() for here, there in pairs])))
    return aurocs, depths


def _wells(model: EvaluatedModel, after: Array, before: Array) -> dict[str, Any]:
    """Well metrics after and before training; none if the box has no empty space."""
    log_density = model.mixture.log_density(model.nodes)
    empty = model.nodes[log_density < log_density.max() + np.log(score_error.SUPPORT)]
    if not len(empty):
        return {}
    component = model.test["component"][: after.shape[1]]
    metrics: dict[str, Any] = {}
    for suffix, z, method in (("", after, model.trained), ("_untrained", before, model.untrained)):
        aurocs, depths = well_metrics(z, component, apply(method.embed, empty, model.device))
        metrics |= {f"energy_auroc{suffix}": over_seeds(aurocs), f"depth{suffix}": over_seeds(depths)}
    return metrics


def _landscapes(model: EvaluatedModel) -> dict[str, Any]:
    """The cosine energy on the grid: of all seeds, over training, and with the reference point moving along its path."""

    def normalised(method: Any, points: Array) -> Array:
        return normalise(apply(method.embed, points, model.device))

    def energy(method: Any) -> Array:
        reference = normalised(method, np.array([model.protocol.evaluation.reference]))
        return model.on_grid(-(normalised(method, model.nodes) @ reference.swapaxes(-1, -2))[..., 0])

    walk = reference_path(model.mixture, model.protocol.evaluation.walk_points)
    along_walk = normalised(model.trained, walk)[0] @ normalised(model.trained, model.nodes)[0].T
    snapshots = apply(model.snapshots.embed, model.test["x"], model.device)
    return {
        "energy": energy(model.trained),
        "log_density": model.on_grid(model.mixture.log_density(model.nodes)),
        "snapshot_energy": energy(model.snapshots),
        "snapshot_variance_ratio": collapse.total_variance(snapshots) / collapse.total_variance(snapshots[:1]),
        "snapshot_normalised_std": collapse.normalised_std(snapshots),
        "walk": walk,
        "walk_energy": model.on_grid(-along_walk),
    }
