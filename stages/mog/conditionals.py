"""What is measured of a method that predicts one coordinate from the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stages.mog import measure, setting
from stages.mog.subject import Array, Subject, apply, values
from stages.nn.method import Densities

CURVE = 400
"""Points along a conditional density."""


def conditional(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of a method that predicts from one coordinate."""
    x = subject.test["x"]
    predicted, log_density = [], []
    for hidden in (0, 1):
        visible = torch.ones(2, device=subject.device)
        visible[hidden] = 0
        predicted.append(apply(lambda p, v=visible: subject.trained.predict(p, v.expand(p.shape)), x, subject.device))
        if isinstance(subject.trained, Densities):
            log_density.append(
                values(lambda p, v=visible: subject.trained.log_density(p, v.expand(p.shape)), x, subject.device)
            )
    index = apply(subject.trained.embed, subject.train["x"], subject.device)
    train, test = subject.train["x"].astype(np.float64), x.astype(np.float64)
    k = subject.params.mog.readout_neighbours
    figures = measure.conditional(subject.mixture, train, index, test, predicted, k)
    return {"conditional": figures | measure.likelihood(subject.mixture, test, log_density)}, _bimodal(
        subject, train, index[0], k
    )


def _bimodal(subject: Subject, train: Array, index: Array, k: int) -> dict[str, Any]:
    """The conditional of x₀ where x₁ leaves most modes open: the truth, the first seed's prediction and density."""
    low, high = subject.params.mog.mixture.box.x
    axis = np.linspace(low, high, CURVE)
    seen = subject.mixture.most_ambiguous(1, setting.grid_axes(subject.params.mog)[1])
    points = np.stack((axis, np.full(CURVE, seen)), -1)
    visible = torch.tensor([0.0, 1.0], device=subject.device)
    predicted = apply(lambda p: subject.trained.predict(p, visible.expand(p.shape)), points[:1], subject.device)[0]
    fields = {
        "conditional_seen": np.array(seen),
        "conditional_axis": axis,
        "conditional_true": np.exp(subject.mixture.conditional_log_density(0, points)),
        "conditional_mean": subject.mixture.conditional_mean(0, np.array([seen])),
        "conditional_point": measure.read_out(train[:, 0], index, predicted, k),
    }
    if isinstance(subject.trained, Densities):
        learned = values(lambda p: subject.trained.log_density(p, visible.expand(p.shape)), points, subject.device)[0]
        fields["conditional_density"] = np.exp(learned)
    return fields
