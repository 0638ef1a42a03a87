"""The operator of the positive pairs: the truth of a joint embedding, as the score is the truth of score matching.

Two noisy views a = x + sε₁ and b = x + sε₂ of a point x have the joint density p(a, b) and the same marginal density p_s. The
operator

    (T g)(a) = E[g(b) | a] = ∫ p(b | a) g(b) db

is self-adjoint, positive and compact in L²(p_s). Its eigenvalues are 1 = λ₀ ≥ λ₁ ≥ … ≥ 0, and its eigenfunctions ψ_k are
orthonormal, E ψ_j ψ_k = δ_jk, with ψ₀ = 1. E[(g(a) − g(b))²] = 2 E g (1 − T) g: an eigenfunction with a large eigenvalue
changes little between the views of a point. With K separated modes ψ₁ … ψ_{K−1} distinguish the modes (*global structure*);
those that follow are functions within the modes, Hermite polynomials of their coordinates (*local structure*).

HaoChen et al. 2021, "Provable guarantees for self-supervised deep learning with spectral contrastive loss", arXiv 2106.04156;
Johnson et al. 2023, "Contrastive learning can find an optimal basis for approximately view-invariant functions", arXiv
2210.01883.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.spatial.distance import cdist

from stages.mog.problem.gaussian_mixture import Mixture

Array = NDArray[np.float64]
TAIL = 1e-13
"""Nodes have at least this fraction of the largest density. A cutoff of 10⁻⁵ lowers λ₁₅ of the reference mixture by .02."""
SPACING = 0.9, 0.6
"""Largest distance of the nodes in units of the smallest standard deviation of b given a, and of a within a mode, which resolve
the kernel and its normalisation between the modes. Eigenvalues are then accurate to 10⁻⁵."""
MAX_NODES = 20_000
"""Largest number of nodes; views with less noise have no spectrum here."""
MAX_GRID = 100 * MAX_NODES
"""Largest number of points of the grid from which the nodes are chosen."""
NEGLIGIBLE = 1e-16
"""Entries of the matrix below this value are dropped."""
COUNT = 17
"""Eigenpairs that are reported: ψ_0 … ψ_16, or fewer if an eigenvalue is below `LOWEST`."""
LOWEST = 1e-8
"""Smallest eigenvalue that is reported: eigenfunctions of smaller ones are rounding errors."""
ROWS = 512
"""Rows of the matrix that are computed at once; bounds the memory."""


@dataclass(frozen=True)
class PairOperator:
    """The operator T in the plane, discretised by the trapezoidal rule on the nodes of a square grid.

    A function g is represented by the vector √m_i g(a_i), so that inner products are those of L²(p_s).

    Args:
        nodes: the nodes a_i (N, 2).
        measure: m_i = p_s(a_i) h², (N,), with sum 1; h is the distance of the nodes.
        matrix: √m_i p(a_j | a_i) h² / √m_j, symmetric (N, N).
    """

    nodes: Array
    measure: Array
    matrix: csr_array

    def eigenpairs(self, count: int) -> tuple[Array, Array]:
        """The largest eigenvalues (count,) in decreasing order, and the eigenfunctions at the nodes (count, N).

        λ_0 = 1 and ψ_0 = 1 are exact. The sign of ψ_k is that for which E ψ_k(a) exp(u·a) > 0, with u = (1, ½) divided by the
        largest coordinate.

        Raises:
            ValueError: `count` is below 2 or not below the number of nodes.
        """
        if not 2 <= count < len(self.nodes):
            raise ValueError(f"{count} eigenpairs of an operator with {len(self.nodes)} nodes")
        root = np.sqrt(self.measure)

        def without_constant(vector: Array) -> Array:
            """T minus the projection on ψ_0, from which ψ_1 could not be told if λ_1 is 1 but for rounding."""
            return np.asarray(self.matrix @ vector - root * (root @ vector))

        deflated = LinearOperator(self.matrix.shape, matvec=without_constant, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(len(root))
        values, vectors = eigsh(deflated, count - 1, which="LA", v0=start)
        functions = (vectors[:, ::-1] / root[:, None]).T
        probe = np.exp(self.nodes @ [1, 0.5] / np.abs(self.nodes).max())
        functions *= np.where(functions @ (self.measure * probe) < 0, -1, 1)[:, None]
        return np.concatenate(([1.0], values[::-1])), np.concatenate((np.ones((1, len(root))), functions))


def pair_operator(mixture: Mixture, noise: float) -> PairOperator:
    """The operator for a mixture in the plane and the noise level s.

    It has no nodes if more than `MAX_NODES` are needed, as for views that hardly differ: then nearly all eigenvalues are 1.

    Args:
        mixture: of the clean points.
        noise: s, in units of x.

    Raises:
        ValueError: the mixture is not in the plane.
    """
    if mixture.means.shape[1] != 2:
        raise ValueError("the operator of the pairs is discretised in the plane only")
    marginal = mixture.smoothed(noise)
    spreads = np.stack([spread for _, spread in _conditionals(mixture, noise)]), marginal.covariances
    step = min(factor * np.sqrt(np.linalg.eigvalsh(spread).min()) for factor, spread in zip(SPACING, spreads, strict=True))
    nodes = _grid(marginal, step)
    log_density = marginal.log_density(nodes)
    if len(nodes):
        kept = log_density > log_density.max() + np.log(TAIL)
        nodes, log_density = nodes[kept], log_density[kept]
    if len(nodes) > MAX_NODES:
        nodes, log_density = nodes[:0], log_density[:0]
    root = np.sqrt(np.exp(log_density)) * step
    blocks = [csr_array((0, len(nodes)))]
    for start in range(0, len(nodes), ROWS):
        rows = slice(start, start + ROWS)
        block = root[rows, None] * _transition(mixture, noise, nodes[rows], nodes) * (step**2 / root)
        block[block < NEGLIGIBLE] = 0
        blocks.append(csr_array(block))
    matrix = vstack(blocks, format="csr")
    return PairOperator(nodes, root**2, csr_array((matrix + matrix.T) / 2))


def extended(mixture: Mixture, noise: float, operator: PairOperator, values: Array, functions: Array, points: Array) -> Array:
    """Eigenfunctions at any points (M, 2), (count, M), by ψ_k = T ψ_k / λ_k (Nyström's interpolation).

    Args:
        mixture: of the clean points.
        noise: s, in units of x.
        operator: their operator.
        values: λ_k, (count,), positive.
        functions: ψ_k at the nodes, (count, N).
        points: (M, 2); a view of a point so far from the data that no node lies near has the value 0.
    """
    area = operator.measure / np.exp(mixture.smoothed(noise).log_density(operator.nodes))
    weighted = (functions * area).T / values
    starts = range(0, len(points), ROWS)
    blocks = [_transition(mixture, noise, points[start : start + ROWS], operator.nodes) @ weighted for start in starts]
    return np.concatenate(blocks).T


def leading(operator: PairOperator) -> tuple[Array, Array]:
    """The eigenpairs that are reported, (K,) and (K, N): at most `COUNT`, and none if the operator has no nodes."""
    if len(operator.nodes) <= COUNT:
        return np.empty(0), np.empty((0, len(operator.nodes)))
    values, functions = operator.eigenpairs(COUNT)
    kept = values > LOWEST
    return values[kept], functions[kept]


def _grid(marginal: Mixture, step: float) -> Array:
    """The nodes of a grid over the ellipses around all modes where the density is above `TAIL`; none if they are too many."""
    wide = np.sqrt(-2 * np.log(TAIL) * marginal.covariances.diagonal(axis1=1, axis2=2))
    low, high = (marginal.means - wide).min(0), (marginal.means + wide).max(0)
    if not step or np.prod((high - low) / step) > MAX_GRID:
        return np.empty((0, 2))
    axes = [np.arange(start, end + step, step) for start, end in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)


def _transition(mixture: Mixture, noise: float, points: Array, nodes: Array) -> Array:
    """p(b | a) for a at points (M, 2) and b at nodes (N, 2), (M, N)."""
    responsibilities = mixture.smoothed(noise).responsibilities(points)
    total = np.zeros((len(points), len(nodes)))
    for responsibility, mean, (gain, spread) in zip(
        responsibilities.T, mixture.means, _conditionals(mixture, noise), strict=True
    ):
        white = np.linalg.inv(np.linalg.cholesky(spread)).T
        squared = cdist((mean + (points - mean) @ gain.T) @ white, nodes @ white, "sqeuclidean")
        scale = responsibility / np.sqrt(np.linalg.det(2 * np.pi * spread))
        total += scale[:, None] * np.exp(-squared / 2)
    return total


def _conditionals(mixture: Mixture, noise: float) -> list[tuple[Array, Array]]:
    """Gain A_k and covariance V_k of each component of b given a: N(b; μ_k + A_k (a − μ_k), V_k).

    A_k = C_k (C_k + s² I)⁻¹ and V_k = C_k + s² I − A_k C_k = s² (I + A_k).
    """
    eye = np.eye(mixture.means.shape[1])
    gains = [c @ np.linalg.inv(c + noise**2 * eye) for c in mixture.covariances]
    return [(gain, noise**2 * (eye + (gain + gain.T) / 2)) for gain in gains]
