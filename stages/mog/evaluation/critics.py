"""What is measured of a method that judges pairs of views."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.metrics.summary import figure
from stages.mog.evaluation import measure
from stages.mog.evaluation.model import Array, Subject
from stages.nn.gradient import gradient
from stages.nn.losses import info_nce

PAIRS = 200
"""Views of which all pairs are kept for the scatter of a critic."""


def critic(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of a method that judges pairs, against the pointwise mutual information of its views."""
    second = subject.settings["view"]["noise"]
    first = second if subject.trained.both_noisy else 0.0

    def views(x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        return (x + first * noise[1], x + second * noise[0])

    def truth(x: Tensor, other: Tensor) -> Array:
        a, b = x.cpu().double().numpy(), other.cpu().double().numpy()
        return subject.mixture.mutual_information(a[:, None], b[None], first, second)

    def learned(x: Tensor, other: Tensor) -> Array:
        with torch.no_grad():
            return subject.trained.critic(x, other).cpu().double().numpy()

    excess = []
    for x, noise, _ in subject.heldout_batches():
        pair = views(x, noise)
        optimum = info_nce(torch.from_numpy(truth(*pair)))
        excess.append((info_nce(torch.from_numpy(learned(*pair))) - optimum).numpy())
    few = slice(subject.protocol.evaluation.structure_points)
    x, noise = (torch.from_numpy(a).to(subject.device) for a in (subject.test["x"][few], subject.views["noise"][0][:, few]))
    pair = views(x, noise)
    found, true = learned(*pair), truth(*pair)
    figures = measure.critic(found, true) | {"excess_loss": figure(np.mean(excess, 0))}
    a, b = (one.cpu().double().numpy() for one in pair)
    figures |= measure.implied_score(_slope(subject, *pair), subject.mixture, a, b, first, second)
    few_true, kept = true[:PAIRS, :PAIRS], true[:PAIRS, :PAIRS] > measure.HOPELESS
    shown = {
        "critic_true": measure.centred(few_true, kept),
        "critic_learned": measure.centred(found[0, :PAIRS, :PAIRS], kept),
    }
    return {"critic": figures}, shown


def _slope(subject: Subject, x: Tensor, other: Tensor) -> Array:
    """∂c(x, x')/∂x' of pairs of views (N, 2), (S, N, 2)."""

    def of_pairs(second: Tensor, first: Tensor) -> Tensor:
        values: Tensor = subject.trained.critic(first, second)
        return values.diagonal(dim1=-2, dim2=-1)

    copies = subject.seeds
    slopes = [
        gradient(partial(of_pairs, first=one), two, copies=copies, create_graph=False)
        for one, two in zip(x.split(PAIRS), other.split(PAIRS), strict=True)
    ]
    return torch.cat(slopes, -2).cpu().double().numpy()
