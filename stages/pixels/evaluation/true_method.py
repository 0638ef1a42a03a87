"""The truth in the place of a method: the analytic scores of the mixture, in the form in which a method has its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stages.nn.method import HasFlow
from stages.pixels.evaluation.sampling import sigmas_of
from stages.pixels.problem.mixture import PixelMixture


class TrueScores:
    """The analytic score at the noise levels of a method.

    Args:
        truth: the mixture.
        sigmas: the noise levels.
    """

    def __init__(self, truth: PixelMixture, sigmas: list[float]) -> None:
        self.truth, self.sigmas = truth, sigmas

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """∇ log p_σ at x (..., N, d)."""
        flat = x.reshape(-1, x.shape[-1]).double().numpy()
        return torch.from_numpy(self.truth.smoothed(sigma).score(flat)).reshape(x.shape)


class TrueFlow(TrueScores):
    """The analytic velocity on the path of a flow.

    Args:
        truth: the mixture.
        flow: its path, its noise levels and its start.
    """

    def __init__(self, truth: PixelMixture, flow: Any) -> None:
        super().__init__(truth, sigmas_of(flow))
        self.start, self.end, self.times = flow.start, flow.end, flow.times
        self.time_of, self.path = flow.time_of, flow.path

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """u(x, t) at x (..., N, d)."""
        flat = x.reshape(-1, x.shape[-1]).double().numpy()
        return torch.from_numpy(self.truth.velocity(self.path(t), flat)).reshape(x.shape)


def truth_as(truth: PixelMixture, method: Any) -> TrueScores:
    """The truth with the noise levels, and the path, of a method."""
    return TrueFlow(truth, method) if isinstance(method, HasFlow) else TrueScores(truth, sigmas_of(method))
