"""How far is a learned score or energy from the true one?"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from stages.metrics.ranks import spearman

Array = NDArray[np.float64]

SUPPORT = 1e-3
"""The support of a density is where it exceeds this fraction of its maximum."""


def relative_error(learned: Array, true: Array) -> Array:
    """The relative squared error E ‖v − u‖² / E ‖u‖² of a vector field over samples of a density, 1 for a zero field.

    For a score it is the relative Fisher divergence.

    Args:
        learned: v at the samples, (..., N, d).
        true: u, (..., N, d).

    Returns:
        (...).
    """
    return np.asarray(((learned - true) ** 2).sum(-1).mean(-1) / (true**2).sum(-1).mean(-1))


def potential(score: Array, dx: float, dy: float, sigma: float) -> Array:
    """The energy on a grid whose gradient fits minus a given score best, by weighted least squares.

        E = argmin ∫ w ‖∇E + s‖²,   w = (1 + σ² ‖s‖²)⁻²

    The score is large far from the data, where it is hardly trained; w keeps its errors there from distorting the energy on the
    data. At σ = 0 all nodes have equal weight. The differences of E along the edges of the grid are fitted to the mean of s at
    both ends; the normal equations are a sparse Poisson problem. A score that is not a gradient leaves a residual.

    Args:
        score: s on the nodes, (..., H, W, 2).
        dx, dy: the distances of the nodes along W and H.
        sigma: σ, the noise level of the score, in units of x.

    Returns:
        E (..., H, W) with ∫ exp(−E) = 1 over the grid, comparable to −log p.
    """
    *lead, height, width, _ = score.shape
    energies = np.stack([_potential(one, dx, dy, sigma) for one in score.reshape(-1, height, width, 2)])
    return normalised_energy(energies.reshape(*lead, height, width), dx, dy)


def _potential(score: Array, dx: float, dy: float, sigma: float) -> Array:
    node = np.arange(score[..., 0].size).reshape(score.shape[:2])
    weight = (1 + sigma**2 * (score**2).sum(-1)) ** -2.0
    edges = ((node[:, :-1], node[:, 1:], 0, dx), (node[:-1], node[1:], 1, dy))
    tail = np.concatenate([a.ravel() for a, _, _, _ in edges])
    head = np.concatenate([b.ravel() for _, b, _, _ in edges])
    values = score.reshape(-1, 2)
    rise = np.concatenate([-step * (values[a, axis] + values[b, axis]).ravel() / 2 for a, b, axis, step in edges])
    stiff = np.concatenate([(weight.ravel()[a] + weight.ravel()[b]).ravel() / 2 / step**2 for a, b, _, step in edges])
    rows, columns = np.concatenate((tail, head, tail, head)), np.concatenate((tail, head, head, tail))
    laplacian = csc_array((np.concatenate((stiff, stiff, -stiff, -stiff)), (rows, columns)), shape=(node.size, node.size))
    flow = np.bincount(head, stiff * rise, node.size) - np.bincount(tail, stiff * rise, node.size)
    energy = np.zeros(node.size)
    energy[1:] = splu(laplacian[1:, 1:]).solve(flow[1:])  # E is defined up to a constant: 0 at the first node
    return energy.reshape(node.shape)


def normalised_energy(energy: Array, dx: float, dy: float) -> Array:
    """E + log ∫ exp(−E) over the grid: the constant that makes exp(−E) a density on it."""
    low = energy.min((-2, -1), keepdims=True)
    mass = np.exp(low - energy).sum((-2, -1), keepdims=True) * dx * dy
    return np.asarray(energy - low + np.log(mass))


def spearman_within_modes(energy: Array, log_density: Array, mode: NDArray[np.int64]) -> float:
    """Spearman's rank correlation of E with −log p inside each mode's basin, averaged over the modes; 1 is perfect.

    Args:
        energy: E at the points, (N,).
        log_density: log p at the points, (N,); only points with p above `SUPPORT` times its maximum count.
        mode: the most probable component at the points, (N,).
    """
    inside = log_density > log_density.max() + np.log(SUPPORT)
    basins = [inside & (mode == k) for k in np.unique(mode[inside])]
    return float(np.mean([spearman(energy[b], -log_density[b]) for b in basins if b.sum() > 2]))


def gap_error(energy: Array, log_density: Array) -> float:
    """The error of between-mode log-density differences: mean |(E_i − E_j) − (log p_j − log p_i)| over all pairs of modes.

    In nats. Score matching at a small noise level cannot learn these differences: they depend on the score in the empty space
    between the modes, where it has no data.

    Args:
        energy: E at K ≥ 2 modes, (K,).
        log_density: log p at the modes, (K,).
    """
    error = energy + log_density
    return float(np.mean([abs(a - b) for a, b in combinations(error, 2)]))
