"""What is measured of a joint embedding on the mixture."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.metrics import collapse, score_error
from stages.metrics.collapse import normalise
from stages.metrics.summary import figure
from stages.mog.evaluation import measure
from stages.mog.evaluation.measure import Embeddings
from stages.mog.evaluation.model import Array, Subject, apply
from stages.mog.problem.reference_path import tour
from stages.pipeline.concurrent import concurrently


def embedding(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and fields of a method with an encoder; its energy is minus the cosine to a reference point."""
    evaluation = subject.protocol.evaluation
    x, few = subject.test["x"].astype(np.float64), evaluation.structure_points
    components = subject.train["component"], subject.test["component"]
    second = x + evaluation.view_noise * subject.views["noise"][0, 0]

    def embedded(method: Any) -> Embeddings:
        train, test = (apply(method.embed, part["x"], subject.device) for part in (subject.train, subject.test))
        return Embeddings(train, test, *components)

    after, before = embedded(subject.trained), embedded(subject.untrained)
    raw = Embeddings(subject.train["x"].astype(np.float64)[None], x[None], *components)

    def seen(e: Embeddings) -> Embeddings:
        return Embeddings(normalise(e.train), normalise(e.test), *components) if subject.trained.cosine else e

    cosine, k = subject.trained.cosine, evaluation.neighbours
    structure, spread, clusters, (wells, landscapes) = concurrently(
        lambda: measure.geometry(x[:few], after.test[:, :few], before.test[:, :few], k, cosine),
        lambda: measure.spread(after.test, apply(subject.trained.embed, second, subject.device)),
        lambda: measure.clusters(subject.mixture, raw, seen(after), seen(before), few, k),
        lambda: (_wells(subject, after.test[:, :few], before.test[:, :few]), _landscapes(subject)),
    )
    metrics = {
        "collapse": collapse.report(after.test, before.test, bounds=subject.protocol.collapse.model_dump()),
        **spread,
        "structure": structure,
        "clusters": clusters,
        "wells": wells,
    }
    return metrics, {"embedding": after.test, **landscapes}


def _wells(subject: Subject, after: Array, before: Array) -> dict[str, Any]:
    """The wells of the cosine energy around the data, after and before training; none where the box has no empty space."""
    log_density = subject.mixture.log_density(subject.nodes)
    empty = subject.nodes[log_density < log_density.max() + np.log(score_error.SUPPORT)]
    if not len(empty):
        return {}
    component = subject.test["component"][: after.shape[1]]
    figures: dict[str, Any] = {}
    for name, z, method in (("", after, subject.trained), ("_untrained", before, subject.untrained)):
        areas, depths = measure.wells(z, component, apply(method.embed, empty, subject.device))
        figures |= {f"auc{name}": figure(areas), f"depth{name}": figure(depths)}
    return figures


def _landscapes(subject: Subject) -> dict[str, Any]:
    """The cosine energy on the grid: of all seeds, over training, and with the reference point on its walk."""

    def directions(method: Any, points: Array) -> Array:
        return normalise(apply(method.embed, points, subject.device))

    def energy(method: Any) -> Array:
        reference = directions(method, np.array([subject.protocol.evaluation.reference]))
        return subject.on_grid(-(directions(method, subject.nodes) @ reference.swapaxes(-1, -2))[..., 0])

    walk = tour(subject.mixture, subject.protocol.evaluation.walk_points)
    walking = directions(subject.trained, walk)[0] @ directions(subject.trained, subject.nodes)[0].T
    snapshots = apply(subject.snapshots.embed, subject.test["x"], subject.device)
    return {
        "energy": energy(subject.trained),
        "log_density": subject.on_grid(subject.mixture.log_density(subject.nodes)),
        "snapshot_energy": energy(subject.snapshots),
        "snapshot_variance_ratio": collapse.total_variance(snapshots) / collapse.total_variance(snapshots[:1]),
        "snapshot_normalised_std": collapse.normalised_std(snapshots),
        "walk": walk,
        "walk_energy": subject.on_grid(-walking),
    }
