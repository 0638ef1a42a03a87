"""A mixture of Gaussians in pixel space, fitted to images: it looks like them, and its density and its score are known.

    p(x) = Σ_k w_k N(x; U m_k, U S_k Uᵀ + ν² (I − U Uᵀ))

x are images as vectors minus their mean, and U (d × p, with orthonormal columns) their first principal components. The weights
w_k, the means m_k and the full covariances S_k are fitted to the projected images by expectation maximisation, and ν² is their
mean variance outside of U. See Tipping and Bishop 1999, "Mixtures of probabilistic principal component analysers".

The density splits: with z = Uᵀ x and r = x − U z,

    log p(x) = log p_U(z) + log N(r; 0, ν² I),    ∇ log p(x) = U ∇ log p_U(z) − r/ν²,

where p_U is a mixture in p dimensions. What lies outside of U says nothing about the mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from stages.core.errors import UserError
from stages.mog.problem import path
from stages.mog.problem.gaussian_mixture import Mixture
from stages.pipeline import files
from stages.pixels.problem.paths import MIXTURE

Array = NDArray[np.float64]
RIDGE = 1e-3
"""Added to the variances of the components, as a fraction of the mean variance along U."""
LEAST_NOISE = 1e-3
"""Smallest ν that is accepted, in units of the pixel values from −1 to 1."""


@dataclass(frozen=True)
class PixelMixture:
    """The mixture, or its density under scaling and noise.

    Args:
        inner: p_U, in p dimensions.
        basis: Uᵀ, (p, d).
        noise: ν.
    """

    inner: Mixture
    basis: Array
    noise: float

    @property
    def dim(self) -> int:
        """Dimensions of x, d."""
        return self.basis.shape[1]

    @property
    def weights(self) -> Array:
        """w, (K,)."""
        return self.inner.weights

    def at(self, a: float, b: float) -> PixelMixture:
        """The density of a x + b ε, ε ~ N(0, I)."""
        return PixelMixture(path.density(self.inner, (a, b, 0.0, 0.0)), self.basis, float(np.hypot(a * self.noise, b)))

    def smoothed(self, sigma: float) -> PixelMixture:
        """p_σ, the density of x + σε."""
        return self.at(1.0, sigma)

    def split(self, x: Array) -> tuple[Array, Array]:
        """z = Uᵀ x (N, p) and r = x − U z (N, d)."""
        z = x @ self.basis.T
        return z, x - z @ self.basis

    def log_density(self, x: Array) -> Array:
        """Log p(x) in nats at x (N, d), (N,)."""
        z, rest = self.split(x)
        outside = self.dim - len(self.basis)
        normal = -((rest**2).sum(-1) / self.noise**2 + outside * np.log(2 * np.pi * self.noise**2)) / 2
        return np.asarray(self.inner.log_density(z) + normal)

    def score(self, x: Array) -> Array:
        """∇ log p(x) at x (N, d), (N, d)."""
        z, rest = self.split(x)
        return np.asarray(self.inner.score(z) @ self.basis - rest / self.noise**2)

    def affine_score(self, x: Array) -> Array:
        """The score of the normal density with the same mean and covariance, (N, d): of all affine functions the best one."""
        z, rest = self.split(x)
        mean, covariance = self.inner.moments()
        return np.asarray(np.linalg.solve(covariance, (mean - z).T).T @ self.basis - rest / self.noise**2)

    def responsibilities(self, x: Array) -> Array:
        """P(k | x) at x (N, d), (N, K)."""
        return self.inner.responsibilities(self.split(x)[0])

    def velocity(self, at: tuple[float, float, float, float], x: Array) -> Array:
        """The velocity of the flow at a, b and their derivatives, at x (N, d): see stages/mog/problem/path.py."""
        a, b, a_slope, b_slope = at
        score = self.at(a, b).score(x)
        mean = self.inner.moments()[0] @ self.basis
        clean = (x + b**2 * score) / a if a else np.broadcast_to(mean, x.shape)
        return np.asarray(a_slope * clean - b_slope * b * score)

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """`count` exact samples (count, d)."""
        component = rng.choice(len(self.weights), size=count, p=self.weights)
        normal = rng.standard_normal((count, len(self.basis)))
        z = np.empty_like(normal)
        # `Mixture.sample` would need a root of a covariance for each sample.
        for k, root in enumerate(np.linalg.cholesky(self.inner.covariances)):
            own = component == k
            z[own] = self.inner.means[k] + normal[own] @ root.T
        _, rest = self.split(rng.standard_normal((count, self.dim)))
        return np.asarray(z @ self.basis + self.noise * rest)


def vectors(images: NDArray[np.uint8]) -> Array:
    """Byte images (N, H, W), or (N, H, W, 3) in colour, as vectors (N, d) of values in [−1, 1], one channel after the other."""
    channels_first = np.moveaxis(images, -1, 1) if images.ndim == 4 else images
    return np.asarray(channels_first.reshape(len(images), -1) / 127.5 - 1)


def values(images: NDArray[np.uint8], centre: Array) -> Array:
    """Byte images as vectors (N, d), minus their mean `centre` (d,)."""
    return np.asarray(vectors(images) - centre)


def pixels(x: Array, centre: Array, shape: tuple[int, int, int]) -> Array:
    """Vectors (..., d) as images of a shape (C, H, W) with values in [0, 1]; values beyond are cut.

    Returns:
        (..., H, W), or (..., H, W, 3) in colour.
    """
    images = np.asarray(((x + centre).clip(-1, 1) + 1) / 2).reshape(*x.shape[:-1], *shape)
    return np.moveaxis(images, -3, -1) if shape[0] > 1 else images[..., 0, :, :]


def fit(images: NDArray[np.uint8], *, modes: int, components: int, seed: int) -> dict[str, Array]:
    """The parameters of the mixture for byte images: `weights`, `means`, `covariances`, `basis`, `noise` and `centre`.

    Args:
        images: to be fitted.
        modes: K.
        components: upper limit of the number of principal components p, which is at most half of d.
        seed: of the initialisation.

    Raises:
        UserError: there are more modes than images, or the images have no noise outside of the components.
    """
    x = vectors(images)
    if modes > len(x):
        raise UserError(f"params.yaml: pixels.modes: {modes} is not accepted: expected at most {len(x)}, the number of images")
    components = min(components, len(x) - 1, x.shape[1] // 2)
    pca = PCA(components, svd_solver="covariance_eigh").fit(x)
    z = pca.transform(x)
    noise = np.sqrt(max(x.var(0).sum() - z.var(0).sum(), 0.0) / (x.shape[1] - components))
    if noise < LEAST_NOISE:
        raise UserError(f"params.yaml: pixels.components: {components} is not accepted: nothing is left outside of them")
    ridge = RIDGE * pca.explained_variance_.mean()
    found = GaussianMixture(modes, covariance_type="full", reg_covar=ridge, random_state=seed, tol=1e-2).fit(z)
    order = np.argsort(-found.weights_)
    return {
        "weights": found.weights_[order],
        "means": found.means_[order],
        "covariances": found.covariances_[order],
        "basis": pca.components_,
        "noise": np.array(noise),
        "centre": pca.mean_,
    }


def read() -> tuple[PixelMixture, Array]:
    """The mixture that the stage pixels_data wrote, and the mean of the images (d,)."""
    found = files.read_arrays(MIXTURE)
    inner = Mixture(found["means"], found["covariances"], found["weights"])
    return PixelMixture(inner, found["basis"], float(found["noise"])), found["centre"]
