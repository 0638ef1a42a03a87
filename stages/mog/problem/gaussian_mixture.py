"""A mixture of Gaussians, with everything that the methods estimate in closed form.

    p(x) = Σ_k w_k N(x; μ_k, C_k)

Density, score, density smoothed by noise, conditional density of one coordinate given the other, pointwise mutual information,
and exact samples. Arrays are float64; points are (..., d).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


BLOCK = 4000
"""Points per block: enough to make NumPy's overhead small, few enough to fit the processor's cache."""


def _log_sum_exp(a: Array, axis: int = -1) -> Array:
    top = a.max(axis, keepdims=True)
    return np.asarray(np.log(np.exp(a - top).sum(axis)) + top.squeeze(axis))


def _softmax(a: Array, axis: int = -1) -> Array:
    # exp(a − log Σ exp a) would not sum to one for large a.
    parts = np.exp(a - a.max(axis, keepdims=True))
    return np.asarray(parts / parts.sum(axis, keepdims=True))


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians in d dimensions.

    Args:
        means: (K, d).
        covariances: (K, d, d), symmetric and positive definite.
        weights: (K,), positive, with sum one.

    Raises:
        numpy.linalg.LinAlgError: a covariance is not positive definite.
    """

    means: Array
    covariances: Array
    weights: Array

    def __post_init__(self) -> None:
        for name in ("means", "covariances", "weights"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        np.linalg.cholesky(self.covariances)

    def smoothed(self, sigma: float) -> Mixture:
        """p_σ, the density of x + σε: the same mixture with covariances C_k + σ² I."""
        return Mixture(self.means, self.covariances + sigma**2 * np.eye(self.means.shape[1]), self.weights)

    def moments(self) -> tuple[Array, Array]:
        """Mean (d,) and covariance (d, d)."""
        mean = self.weights @ self.means
        apart = self.means - mean
        return mean, np.tensordot(self.weights, self.covariances + apart[:, :, None] * apart[:, None], 1)

    def views(self, first: float, second: float) -> Mixture:
        """The joint density of two noisy views (x + s₁ε₁, x + s₂ε₂) of a point, a mixture in 2d dimensions.

        Σ_k w_k N( (x, x'); (μ_k, μ_k), [[C_k + s₁² I, C_k], [C_k, C_k + s₂² I]] )

        Args:
            first: s₁, in units of x.
            second: s₂, in units of x.
        """
        eye = np.eye(self.means.shape[1])
        blocks = [[self.covariances + first**2 * eye, self.covariances], [self.covariances, self.covariances + second**2 * eye]]
        return Mixture(np.tile(self.means, 2), np.block(blocks), self.weights)

    def pointwise_mutual_information(self, x: ArrayLike, other: ArrayLike, first: float, second: float) -> Array:
        """The PMI log p(x, x') − log p(x) − log p(x') in nats, (...), of views x, x' (..., d) with noise levels s₁, s₂."""
        pair = np.concatenate(np.broadcast_arrays(x, other), -1)
        joint = self.views(first, second).log_density(pair)
        return np.asarray(joint - self.smoothed(first).log_density(x) - self.smoothed(second).log_density(other))

    @cached_property
    def whitening(self) -> Array:
        """L⁻¹ of each C = L Lᵀ, (K, d, d); a Mahalanobis distance is the length of L⁻¹ (x − μ)."""
        return np.asarray(np.linalg.inv(np.linalg.cholesky(self.covariances)))

    @cached_property
    def _precisions(self) -> Array:
        return np.asarray(np.linalg.inv(self.covariances))

    @cached_property
    def _log_determinants(self) -> Array:
        return np.asarray(np.linalg.slogdet(2 * np.pi * self.covariances)[1])

    def _log_joint(self, x: Array) -> Array:
        """log w_k N(x; μ_k, C_k) of points (N, d), as (K, N), so that sums over K are sums of contiguous rows."""
        found = np.empty((len(self.weights), len(x)))
        terms = zip(self.means, self.whitening, np.log(self.weights), self._log_determinants, strict=True)
        for row, (mean, whitening, log_weight, log_determinant) in zip(found, terms, strict=True):
            white = (x - mean) @ whitening.T
            row[:] = log_weight - (np.einsum("ni,ni->n", white, white) + log_determinant) / 2
        return found

    def _in_blocks(self, function: Callable[[Array], Array], x: ArrayLike, *shape: int) -> Array:
        """Apply a function from points (N, d) to (N, *shape) block by block to points (..., d): (..., *shape)."""
        points = np.asarray(x, dtype=np.float64)
        flat = points.reshape(-1, points.shape[-1])
        found = np.empty((len(flat), *shape))
        for start in range(0, len(flat), BLOCK):
            block = slice(start, start + BLOCK)
            found[block] = function(flat[block])
        return found.reshape((*points.shape[:-1], *shape))

    def component_log_density(self, x: ArrayLike) -> Array:
        """Log w_k N(x; μ_k, C_k) of points (..., d), as (..., K)."""
        return self._in_blocks(lambda points: self._log_joint(points).T, x, len(self.weights))

    def log_density(self, x: ArrayLike) -> Array:
        """Log p(x) in nats, of points (..., d), as (...)."""
        return self._in_blocks(lambda points: _log_sum_exp(self._log_joint(points), 0), x)

    def responsibilities(self, x: ArrayLike) -> Array:
        """P(k | x) of points (..., d), as (..., K)."""
        return self._in_blocks(lambda points: _softmax(self._log_joint(points), 0).T, x, len(self.weights))

    def score(self, x: ArrayLike) -> Array:
        """∇ log p(x) = Σ_k P(k | x) C_k⁻¹ (μ_k − x), of points (..., d), as (..., d)."""

        def of_block(points: Array) -> Array:
            total = np.zeros_like(points)
            terms = zip(_softmax(self._log_joint(points), 0), self.means, self._precisions, strict=True)
            for responsibility, mean, precision in terms:
                total += responsibility[:, None] * ((mean - points) @ precision)
            return total

        return self._in_blocks(of_block, x, self.means.shape[1])

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
        """`count` exact samples (count, d) and the components (count,) they came from."""
        component = rng.choice(len(self.weights), size=count, p=self.weights)
        normal = rng.standard_normal((count, self.means.shape[1]))
        root = np.linalg.cholesky(self.covariances)
        return self.means[component] + np.einsum("nij,nj->ni", root[component], normal), component.astype(np.int64)

    def conditional(self, hidden: int, value: ArrayLike) -> tuple[Array, Array, Array]:
        """The conditional density of coordinate `hidden` given the other one, for d = 2: a mixture in one dimension.

            p(x_h | x_v) = Σ_k P(k | x_v) N(x_h; μ_kh + C_khv (x_v − μ_kv) / C_kvv, C_khh − C_khv² / C_kvv)

        Args:
            hidden: 0 or 1.
            value: the visible coordinate x_v, (N,).

        Returns:
            weights (N, K), means (N, K) and variances (K,).
        """
        seen = 1 - hidden
        value = np.asarray(value, dtype=np.float64)[:, None]
        covariance = self.covariances[:, hidden, seen]
        variance = self.covariances[:, seen, seen]
        offset = value - self.means[:, seen]
        log_joint = np.log(self.weights) - (offset**2 / variance + np.log(2 * np.pi * variance)) / 2
        means = self.means[:, hidden] + covariance / variance * offset
        return _softmax(log_joint), means, self.covariances[:, hidden, hidden] - covariance**2 / variance

    def conditional_log_density(self, hidden: int, x: ArrayLike) -> Array:
        """Log p(x_h | x_v) in nats at points (N, 2), (N,)."""
        x = np.asarray(x, dtype=np.float64)
        weights, means, variances = self.conditional(hidden, x[:, 1 - hidden])
        log_normal = -((x[:, hidden, None] - means) ** 2 / variances + np.log(2 * np.pi * variances)) / 2
        return _log_sum_exp(np.log(np.maximum(weights, 1e-300)) + log_normal)

    def marginal_log_density(self, coordinate: int, value: ArrayLike) -> Array:
        """Log p(x_c) in nats at values (N,) of one coordinate, (N,)."""
        offset = np.asarray(value, dtype=np.float64)[:, None] - self.means[:, coordinate]
        variance = self.covariances[:, coordinate, coordinate]
        return _log_sum_exp(np.log(self.weights) - (offset**2 / variance + np.log(2 * np.pi * variance)) / 2)

    def conditional_mean(self, hidden: int, value: ArrayLike) -> Array:
        """E[x_h | x_v], the best point prediction of coordinate `hidden`, (N,)."""
        weights, means, _ = self.conditional(hidden, value)
        return np.asarray((weights * means).sum(-1))

    def most_ambiguous(self, seen: int, candidates: ArrayLike) -> float:
        """The value of coordinate `seen`, among N candidates, at which the component is the most ambiguous.

        It maximises p(x_v) H(P(k | x_v)), the density times the entropy of the component.
        """
        values = np.asarray(candidates, dtype=np.float64)
        weights, _, _ = self.conditional(1 - seen, values)
        entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(-1)
        variance = self.covariances[:, seen, seen]
        offset = values[:, None] - self.means[:, seen]
        density = (self.weights / np.sqrt(variance) * np.exp(-(offset**2) / variance / 2)).sum(-1)
        return float(values[(entropy * density).argmax()])

    def bayes_accuracy(self, x: ArrayLike, component: ArrayLike) -> float:
        """The accuracy on points (N, d) of the Bayes classifier of the component; no classifier has a higher expectation."""
        return float((self.responsibilities(x).argmax(-1) == np.asarray(component)).mean())
