"""Solutions of a flow's differential equation: samples and exact log-likelihoods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor

from stages.core.errors import UserError
from stages.mog.evaluation.model import CHUNK

Array = NDArray[np.float64]
TOLERANCE = 1e-4
"""Relative and absolute tolerance of the solver, above the rounding errors of single-precision networks."""


def transported(velocity: Callable[[Array, float], Array], x: Array, times: Array) -> Array:
    """Solve dx/dt = u(x, t) from x at the first of `times`; the solutions at all `times`, (T, *x.shape).

    The Runge-Kutta method of order 8 of Dormand and Prince, with one step size for all points (`scipy.integrate.solve_ivp`).

    Args:
        velocity: u, from points of the shape of x and t to velocities of that shape.
        x: points (..., d).
        times: increasing or decreasing, (T,).

    Raises:
        UserError: the step size became too small.
    """
    solution = solve_ivp(
        lambda t, state: velocity(state.reshape(x.shape), t).ravel(),
        (times[0], times[-1]),
        x.ravel(),
        method="DOP853",
        t_eval=times,
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )
    if not solution.success:
        raise UserError(f"the flow has no solution: {solution.message}")
    return np.asarray(solution.y.T.reshape(len(times), *x.shape))


def log_likelihood(
    with_divergence: Callable[[Array, float], tuple[Array, Array]], x: Array, times: tuple[float, float], std: float
) -> Array:
    """The log-likelihood log q(x) of points under a flow from N(0, std² I), in nats, (...).

        log q(x) = log N(x_start; 0, std² I) − ∫ ∇·u(x_t, t) dt,    dx/dt = u(x, t),  x_end = x

    Chen et al. 2018, "Neural ordinary differential equations", arXiv 1806.07366, theorem 1.

    Args:
        with_divergence: u and its divergence, from points (..., d) and t to (..., d) and (...).
        x: points (..., d) at the end of the flow.
        times: start and end of the flow.
        std: standard deviation of the density at the start.
    """
    start, end = times

    def slopes(state: Array, t: float) -> Array:
        velocity, divergence = with_divergence(state[..., :-1], t)
        return np.concatenate((velocity, divergence[..., None]), -1)

    state = np.concatenate((x, np.zeros((*x.shape[:-1], 1))), -1)
    last = transported(slopes, state, np.array([end, start]))[-1]
    base, lost = last[..., :-1], last[..., -1]
    normal = -((base**2).sum(-1) / std**2 + x.shape[-1] * np.log(2 * np.pi * std**2)) / 2
    # `lost` is the integral from end to start, so minus the one from start to end.
    return np.asarray(normal + lost)


def with_divergence(velocity: Callable[[Tensor], Tensor], x: Array, device: torch.device) -> tuple[Array, Array]:
    """A network's velocity at points (S, N, d) and its exact divergence Σ_i ∂u_i/∂x_i, (S, N), by d backward passes.

    Args:
        velocity: u at one t, from points (S, N, d) to (S, N, d).
        x: points (S, N, d).
        device: device of the network.
    """
    parts: list[tuple[Any, Any]] = []
    for chunk in torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device).split(CHUNK, dim=-2):
        points = chunk.requires_grad_()
        value = velocity(points)
        divergence = torch.zeros_like(value[..., 0])
        for i in range(value.shape[-1]):
            (slope,) = torch.autograd.grad(value[..., i].sum(), points, retain_graph=i < value.shape[-1] - 1)
            divergence += slope[..., i]
        parts.append((value.detach(), divergence))
    values, divergences = (torch.cat(part, 1).cpu().double().numpy() for part in zip(*parts, strict=True))
    return values, divergences
