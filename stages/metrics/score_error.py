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
"""A point belongs to the support of a density where it is more than this fraction of its maximum."""


def relative_fisher_error(learned: Array, true: Array) -> Array:
    """E ‖s_θ − s‖² / E ‖s‖² over points drawn from the density: scores (..., N, 2) to (...); a zero score has 1."""
    return np.asarray(((learned - true) ** 2).sum(-1).mean(-1) / (true**2).sum(-1).mean(-1))


def potential(score: Array, dx: float, dy: float, sigma: float) -> Array:
    """The energy on a grid whose gradient is closest to minus a given score, above all where that score is weak.

        E = argmin ∫ w ‖∇E + s‖²,   w = (1 + σ² ‖s‖²)⁻²

    A strong score is one far from the data, where it was hardly trained; without w its errors there would bend the landscape on
    the data. Without noise, at σ = 0, every node counts alike. The differences of E along the edges of the grid are fitted to
    the mean of s at both ends. The normal equations are a sparse Poisson problem. A score that is no gradient leaves a
    residual.

    Args:
        score: s on the nodes, (..., H, W, 2).
        dx, dy: the distances of the nodes along W and H.
        sigma: σ, the noise level of the score, in units of x.

    Returns:
        E (..., H, W) with ∫ exp(−E) = 1 over the grid, so that it can be held against −log p.
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
    energy[1:] = splu(laplacian[1:, 1:]).solve(flow[1:])  # the first node's energy is the constant no gradient fixes
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
        log_density: log p there, (N,); only points with p above `SUPPORT` times its maximum count.
        mode: the most probable component there, (N,).
    """
    inside = log_density > log_density.max() + np.log(SUPPORT)
    basins = [inside & (mode == k) for k in np.unique(mode[inside])]
    return float(np.mean([spearman(energy[b], -log_density[b]) for b in basins if b.sum() > 2]))


def gap_error(energy: Array, log_density: Array) -> float:
    """Mean |(E_i − E_j) − (log p_j − log p_i)| over all pairs of modes, in nats, from E and log p at two modes or more, (K,).

    Score matching at a small noise level cannot see these gaps: they are in what it never looks at, the empty space between.
    """
    error = energy + log_density
    return float(np.mean([abs(a - b) for a, b in combinations(error, 2)]))
