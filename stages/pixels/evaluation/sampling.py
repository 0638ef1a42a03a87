"""Samples of score-based methods on images, the way from noise to them, and likelihoods.

All samples are of p_σ at the smallest noise level of their method: a flow ends there as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from stages.config.pixels import Pixels
from stages.core.errors import UserError
from stages.mog.evaluation.langevin import Region, annealed_langevin
from stages.mog.evaluation.model import apply
from stages.nn.method import HasFlow, HasNoiseSchedule
from stages.nn.schedule import geometric

Array = NDArray[np.float64]
TOLERANCE = 1e-4
"""Relative and absolute tolerance of the solver for samples."""
FINE = 1e-5
"""The same for likelihoods: a sum over all pixels has to be right to a fraction of a nat."""
CHUNK = 64
"""Images whose likelihood is computed at once, which limits the memory."""


def sigmas_of(method: Any) -> list[float]:
    """The noise levels at which a method learns scores, in decreasing order."""
    return list(method.sigmas) if isinstance(method, HasNoiseSchedule) else [method.sigma]


def last_sigma(method: Any) -> float:
    """The noise level of a method's samples."""
    return sigmas_of(method)[-1]


def score_at(method: Any, sigma: float, device: torch.device) -> Callable[[Array], Array]:
    """The learned ∇ log p_σ as a function from images (N, d) to (N, d)."""
    at = (lambda x: method.score_at(x, sigma)) if isinstance(method, HasNoiseSchedule) else method.score
    return lambda x: apply(at, x[None], device)[0]


def denoised(method: Any, x: Array, device: torch.device) -> Array:
    """The mean of the clean images given samples x (N, d) of p_σ, by Tweedie's formula: x + σ² s(x)."""
    sigma = last_sigma(method)
    return np.asarray(x + sigma**2 * score_at(method, sigma, device)(x))


def sample(
    method: Any, pixels: Pixels, shape: tuple[int, int], rng: np.random.Generator, device: torch.device
) -> tuple[Array, Array, Array]:
    """Samples of the shape (N, d) of a method, images on the way from noise to them (F, N, d), and their noise levels (F,).

    A flow solves its ordinary differential equation from normal noise; x_t / a(t) is shown. Other methods walk by annealed
    Langevin dynamics from normal noise of their largest noise level, all with the same number of steps.
    """
    return (_flow if isinstance(method, HasFlow) else _langevin)(method, pixels, shape, rng, device)


def _langevin(
    method: Any, pixels: Pixels, shape: tuple[int, int], rng: np.random.Generator, device: torch.device
) -> tuple[Array, Array, Array]:
    sigmas = sigmas_of(method)
    steps = max(pixels.langevin.steps // len(sigmas), 1)
    total = steps * len(sigmas)
    recorded = np.unique(np.linspace(0, total, min(pixels.frames, total + 1)).round().astype(int)).tolist()
    everywhere = np.full(shape[1], np.inf)
    found, walk = annealed_langevin(
        lambda x, sigma: score_at(method, sigma, device)(x),
        max(sigmas[0], 1.0) * rng.standard_normal(shape),
        sigmas=sigmas,
        step_ratio=pixels.langevin.step_ratio,
        steps=steps,
        snapshots=recorded,
        region=Region(-everywhere, everywhere),
        rng=rng,
    )
    return found, walk, np.array([sigmas[max(step - 1, 0) // steps] for step in recorded])


def _flow(
    method: Any, pixels: Pixels, shape: tuple[int, int], rng: np.random.Generator, device: torch.device
) -> tuple[Array, Array, Array]:
    sigmas = sigmas_of(method)
    shown = geometric(sigmas[0], sigmas[-1], pixels.frames if sigmas[-1] < sigmas[0] else 1)
    times = [method.time_of(sigma) for sigma in shown]
    _, std, _, _ = method.path(method.start)
    found = solved(
        lambda x, t: apply(lambda points: method.velocity(points, t), x[None], device)[0],
        std * rng.standard_normal(shape),
        [method.start, *times],
        TOLERANCE,
    )
    walk = found[1:] / np.array([method.path(t)[0] for t in times])[:, None, None]
    return walk[-1], walk, np.array(shown)


def solved(slope: Callable[[Array, float], Array], x: Array, times: list[float], tolerance: float) -> Array:
    """Solve dx/dt = u(x, t) from x at the first of `times`; the solutions at all `times`, (T, *x.shape).

    Args:
        slope: u, from values of the shape of x and t.
        x: the values at the first time.
        times: increasing or decreasing.
        tolerance: relative and absolute tolerance.

    Raises:
        UserError: the step size became too small.
    """
    solution = solve_ivp(
        lambda t, state: slope(state.reshape(x.shape), t).ravel(),
        (times[0], times[-1]),
        x.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=tolerance,
        atol=tolerance,
    )
    if not solution.success:
        raise UserError(f"the flow has no solution: {solution.message}")
    return np.asarray(solution.y.T.reshape(len(times), *x.shape))


def estimated_log_likelihood(method: Any, x: Array, rng: np.random.Generator, device: torch.device) -> Array:
    """Unbiased estimates of the log-likelihood log q(x) of a flow at samples x (N, d) of p_σ, in nats, (N,).

        log q(x) = d log a + log N(x_start; 0, b²) − ∫ ∇·u(x_t, t) dt,    x_end = a x,  a and b at the end and at the start

    The divergence is estimated by vᵀ J v with one fixed v of random signs for each image (Hutchinson 1990; Grathwohl et al.
    2019, "FFJORD", arXiv 1810.01367): in d dimensions the exact divergence takes d backward passes.
    """
    parts = np.array_split(x, -(-len(x) // CHUNK))
    return np.concatenate([_log_likelihood(method, part, rng, device) for part in parts])


def _log_likelihood(method: Any, x: Array, rng: np.random.Generator, device: torch.device) -> Array:
    count, dim = x.shape
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], x.shape)).to(device).float()

    def slopes(state: Array, t: float) -> Array:
        values = torch.from_numpy(state[:, :-1]).to(device).float().requires_grad_()
        velocity = method.velocity(values[None], t)[0]
        (product,) = torch.autograd.grad((velocity * signs).sum(), values)
        divergence = (product * signs).sum(-1, keepdim=True)
        return torch.cat((velocity.detach(), divergence), -1).cpu().double().numpy()

    end = method.time_of(last_sigma(method))
    scale, _, _, _ = method.path(end)
    _, std, _, _ = method.path(method.start)
    state = np.concatenate((scale * x, np.zeros((count, 1))), -1)
    last = solved(slopes, state, [end, method.start], FINE)[-1]
    base, lost = last[:, :-1], last[:, -1]
    normal = -((base**2).sum(-1) / std**2 + dim * np.log(2 * np.pi * std**2)) / 2
    # `lost` is the integral from end to start, so minus the one from start to end.
    return np.asarray(dim * np.log(scale) + normal + lost)
