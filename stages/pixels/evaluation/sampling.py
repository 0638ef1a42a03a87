"""Samples of score-based methods on images, and the way from noise to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.pixels import Pixels
from stages.mog.evaluation.flows import log_likelihood, transported
from stages.mog.evaluation.langevin import Region, annealed_langevin
from stages.mog.evaluation.model import apply
from stages.nn.method import HasFlow, HasNoiseSchedule
from stages.nn.schedule import geometric

Array = NDArray[np.float64]


def sigmas_of(method: Any) -> list[float]:
    """The noise levels at which a method learns scores, in decreasing order."""
    return list(method.sigmas) if isinstance(method, HasNoiseSchedule) else [method.sigma]


def last_sigma(method: Any) -> float:
    """The noise level of a method's samples."""
    if isinstance(method, HasFlow):
        a, b, _, _ = method.path(method.end)
        return b / a
    return sigmas_of(method)[-1]


def score_at(method: Any, sigma: float, device: torch.device) -> Callable[[Array], Array]:
    """The learned ∇ log p_σ as a function from images (N, d) to (N, d)."""
    at = (lambda x: method.score_at(x, sigma)) if isinstance(method, HasNoiseSchedule) else method.score
    return lambda x: apply(at, x[None], device)[0]


def sample(method: Any, pixels: Pixels, dim: int, rng: np.random.Generator, device: torch.device) -> tuple[Array, Array, Array]:
    """Samples (N, d) of a method, images on the way from noise to them (F, N, d), and their noise levels (F,).

    A flow solves its ordinary differential equation from normal noise; x_t / a(t) is shown. Other methods walk by annealed
    Langevin dynamics from normal noise of their largest noise level, all with the same number of steps.
    """
    if isinstance(method, HasFlow):
        return _flow(method, pixels, dim, rng, device)
    sigmas = sigmas_of(method)
    steps = max(pixels.langevin.steps // len(sigmas), 1)
    total = steps * len(sigmas)
    recorded = np.unique(np.linspace(0, total, min(pixels.frames, total + 1)).round().astype(int)).tolist()
    everywhere = np.full(dim, np.inf)
    found, walk = annealed_langevin(
        lambda x, sigma: score_at(method, sigma, device)(x),
        max(sigmas[0], 1.0) * rng.standard_normal((pixels.samples, dim)),
        sigmas=sigmas,
        step_ratio=pixels.langevin.step_ratio,
        steps=steps,
        snapshots=recorded,
        region=Region(-everywhere, everywhere),
        rng=rng,
    )
    return found, walk, np.array([sigmas[max(step - 1, 0) // steps] for step in recorded])


def _flow(
    method: HasFlow, pixels: Pixels, dim: int, rng: np.random.Generator, device: torch.device
) -> tuple[Array, Array, Array]:
    sigmas = geometric(sigmas_of(method)[0], sigmas_of(method)[-1], pixels.frames)
    times = [method.time_of(sigma) for sigma in sigmas]
    _, std, _, _ = method.path(method.start)
    last = [] if np.isclose(times[-1], method.end) else [method.end]
    found = transported(
        lambda x, t: apply(lambda points: method.velocity(points, t), x[None], device)[0],
        std * rng.standard_normal((pixels.samples, dim)),
        np.array([method.start, *times, *last]),
    )
    scale = np.array([method.path(t)[0] for t in times])[:, None, None]
    return found[-1], found[1 : 1 + len(times)] / scale, np.array(sigmas)


def estimated_log_likelihood(method: HasFlow, x: Array, rng: np.random.Generator, device: torch.device) -> Array:
    """Unbiased estimates of a flow's log-likelihood log q(x) at images (N, d), in nats, (N,).

    The divergence of the velocity is estimated by vᵀ J v with one fixed v of random signs for each image (Hutchinson 1990;
    Grathwohl et al. 2019, "FFJORD", arXiv 1810.01367): in d dimensions the exact divergence takes d backward passes.
    """
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], x.shape).astype(np.float32)).to(device)

    def with_divergence(points: Array, t: float) -> tuple[Array, Array]:
        values = torch.from_numpy(points.astype(np.float32)).to(device).requires_grad_()
        velocity = method.velocity(values[None], t)[0]
        (product,) = torch.autograd.grad((velocity * signs).sum(), values)
        divergence = (product * signs).sum(-1)
        return velocity.detach().cpu().double().numpy(), divergence.cpu().double().numpy()

    _, std, _, _ = method.path(method.start)
    return log_likelihood(with_divergence, x, (method.start, method.end), std)
