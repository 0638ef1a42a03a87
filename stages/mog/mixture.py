"""A mixture of Gaussians: the world whose truth is known.

    p(x) = Σ_k w_k N(x; μ_k, C_k)

Everything that a method claims to learn is here in closed form: the density, its score, the density smoothed by noise, the
conditional of one coordinate given the other, and exact samples. All in float64 numpy; points are (..., d).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def _log_sum_exp(a: Array) -> Array:
    top = a.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(a - top).sum(-1)) + top[..., 0])


def _softmax(a: Array) -> Array:
    # Not exp(a − log Σ exp a): where a is large, that sum is not one.
    parts = np.exp(a - a.max(-1, keepdims=True))
    return np.asarray(parts / parts.sum(-1, keepdims=True))


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

    def views(self, first: float, second: float) -> Mixture:
        """The joint density of two noisy views (x + s₁ε₁, x + s₂ε₂) of a point, in 2d dimensions: a mixture again.

        Σ_k w_k N( (x, x'); (μ_k, μ_k), [[C_k + s₁² I, C_k], [C_k, C_k + s₂² I]] )
        """
        eye = np.eye(self.means.shape[1])
        blocks = [[self.covariances + first**2 * eye, self.covariances], [self.covariances, self.covariances + second**2 * eye]]
        return Mixture(np.tile(self.means, 2), np.block(blocks), self.weights)

    def mutual_information(self, x: ArrayLike, other: ArrayLike, first: float, second: float) -> Array:
        """Pointwise mutual information log p(x, x') − log p(x) − log p(x') of noisy views x, x' (..., d), as (...)."""
        pair = np.concatenate(np.broadcast_arrays(x, other), -1)
        joint = self.views(first, second).log_density(pair)
        return np.asarray(joint - self.smoothed(first).log_density(x) - self.smoothed(second).log_density(other))

    def component_log_density(self, x: ArrayLike) -> Array:
        """Log w_k N(x; μ_k, C_k) of points (..., d), as (..., K)."""
        x = np.asarray(x, dtype=np.float64)
        # C⁻¹ = L⁻ᵀ L⁻¹: a Mahalanobis distance is the length of L⁻¹ (x − μ).
        whiten = np.linalg.inv(np.linalg.cholesky(self.covariances))
        white = ((x - mean) @ inverse.T for mean, inverse in zip(self.means, whiten, strict=True))
        distance = np.stack([np.einsum("...i,...i->...", one, one) for one in white], -1)
        _, log_determinant = np.linalg.slogdet(2 * np.pi * self.covariances)
        return np.asarray(np.log(self.weights) - (distance + log_determinant) / 2)

    def log_density(self, x: ArrayLike) -> Array:
        """Log p(x) in nats, of points (..., d), as (...)."""
        return _log_sum_exp(self.component_log_density(x))

    def responsibilities(self, x: ArrayLike) -> Array:
        """P(k | x) of points (..., d), as (..., K)."""
        return _softmax(self.component_log_density(x))

    def score(self, x: ArrayLike) -> Array:
        """∇ log p(x) = Σ_k P(k | x) C_k⁻¹ (μ_k − x), of points (..., d), as (..., d)."""
        x = np.asarray(x, dtype=np.float64)
        responsibilities = self.responsibilities(x)
        pulls = ((mean - x) @ precision for mean, precision in zip(self.means, np.linalg.inv(self.covariances), strict=True))
        return np.asarray(sum(responsibilities[..., [k]] * pull for k, pull in enumerate(pulls)))

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
        """`count` exact samples (count, d) and the components (count,) they came from."""
        component = rng.choice(len(self.weights), size=count, p=self.weights)
        normal = rng.standard_normal((count, self.means.shape[1]))
        root = np.linalg.cholesky(self.covariances)
        return self.means[component] + np.einsum("nij,nj->ni", root[component], normal), component.astype(np.int64)

    def conditional(self, hidden: int, value: ArrayLike) -> tuple[Array, Array, Array]:
        """The density of coordinate `hidden` given the other one, in two dimensions: a mixture again.

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

    def conditional_mean(self, hidden: int, value: ArrayLike) -> Array:
        """E[x_h | x_v], the best point prediction of coordinate `hidden`, (N,)."""
        weights, means, _ = self.conditional(hidden, value)
        return np.asarray((weights * means).sum(-1))

    def most_ambiguous(self, seen: int, candidates: ArrayLike) -> float:
        """The one of the values (N,) of coordinate `seen` whose component is the hardest to tell.

        It has the largest entropy of P(k | x_v) times p(x_v): ambiguous, and where points are.
        """
        values = np.asarray(candidates, dtype=np.float64)
        weights, _, _ = self.conditional(1 - seen, values)
        entropy = -(weights * np.log(np.maximum(weights, 1e-300))).sum(-1)
        variance = self.covariances[:, seen, seen]
        offset = values[:, None] - self.means[:, seen]
        density = (self.weights / np.sqrt(variance) * np.exp(-(offset**2) / variance / 2)).sum(-1)
        return float(values[(entropy * density).argmax()])

    def bayes_accuracy(self, x: ArrayLike, component: ArrayLike) -> float:
        """How often the most probable component is the one that a point (N, d) came from: no classifier does better."""
        return float((self.responsibilities(x).argmax(-1) == np.asarray(component)).mean())
