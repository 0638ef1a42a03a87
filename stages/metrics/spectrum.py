"""How well does an embedding span the eigenfunctions of the positive pairs' operator?

All metrics are expectations under p_s, computed on quadrature nodes a_i with weights m_i, so they have no sampling noise. A
function g is represented by the vector √m_i g(a_i). Sums over an orthonormal basis are invariant to affine maps of the
embedding, as a linear read-out is; the scale, and with it collapse, is measured elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESOLUTION = 1e-6
"""Directions with a smaller share of the embedding's root mean square are rounding errors of single precision."""


def span(z: Array, measure: Array) -> Array:
    """An orthonormal basis (N, R) of the span of 1 and the coordinates of an embedding; its first column represents 1.

    Args:
        z: embeddings of the nodes, (N, D).
        measure: weights of the nodes, (N,), with sum 1.
    """
    root = np.sqrt(measure)[:, None]
    centred = root * (z - measure @ z)
    vectors, singular, _ = np.linalg.svd(centred, full_matrices=False)
    return np.hstack((root, vectors[:, singular > RESOLUTION * np.linalg.norm(root * z)]))


def explained(basis: Array, functions: Array, measure: Array) -> Array:
    """R² of the linear regression of functions with mean 0 and variance 1 on an embedding, (K,), each from 0 to 1.

        R²_k = ‖U Uᵀ ψ_k‖²

    Args:
        basis: U, from `span`, (N, R).
        functions: ψ_k at the nodes, (K, N).
        measure: weights of the nodes, (N,).
    """
    return np.asarray((((functions * np.sqrt(measure)) @ basis) ** 2).sum(-1))


def captured_trace(basis: Array, matrix: Any, rank: int) -> float:
    """The largest trace of the operator in a subspace of at most `rank` dimensions of the span, Σ of the Ritz values.

        max over V ⊂ span U, dim V ≤ rank, of tr(Vᵀ T V)  ≤  Σ_{k < rank} λ_k

    The span has D + 1 dimensions if the embedding does not contain the constant. Equal rank makes embeddings comparable.

    Args:
        basis: U, from `span`, (N, R).
        matrix: T, symmetric (N, N).
        rank: D.
    """
    ritz = np.linalg.eigvalsh(basis.T @ (matrix @ basis))
    return float(ritz[-rank:].sum())


def spectral_excess(z: Array, measure: Array, matrix: Any, eigenvalues: Array) -> float:
    """The spectral contrastive loss of an embedding above its minimum, ≥ 0.

        L(f) = −2 E f(a)·f(b) + E (f(a)·f(b'))² = −2 tr(Fᵀ T F) + ‖Fᵀ F‖²,    min L = −Σ_{k < D} λ_k²

    b is the second view of the point of a and b' that of an independent point.

    HaoChen et al. 2021, arXiv 2106.04156, lemma 3.2: L is ‖T − F Fᵀ‖² up to a constant.

    Args:
        z: f at the nodes, (N, D).
        measure: weights of the nodes, (N,).
        matrix: T, symmetric (N, N).
        eigenvalues: the D largest eigenvalues of T.
    """
    weighted = np.sqrt(measure)[:, None] * z
    loss = -2 * (weighted * (matrix @ weighted)).sum() + ((weighted.T @ weighted) ** 2).sum()
    return float(loss + (eigenvalues**2).sum())
