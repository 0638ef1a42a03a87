"""A mixture of Gaussians in pixel space, fitted to images: it looks like them, and its density and its score are known.

    p(x) = Σ_k w_k N(x; μ + U m_k, U S_k Uᵀ + ν² (I − U Uᵀ))

U are the first principal components of the images and μ is their mean. The weights w_k, the means m_k and the full covariances
S_k are fitted to the projected images by expectation maximisation, and ν² is the mean variance of the images outside of U. See
Tipping and Bishop 1999, "Mixtures of probabilistic principal component analysers".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from stages.mog.problem.gaussian_mixture import Mixture
from stages.pipeline import files
from stages.pixels.problem.paths import MIXTURE

Array = NDArray[np.float64]
RIDGE = 1e-3
"""Added to the variances of the components, as a fraction of the mean variance along U."""


def values(images: NDArray[np.uint8]) -> Array:
    """Byte images (N, ...) as vectors (N, d) of values in [−1, 1]."""
    return images.reshape(len(images), -1) / 127.5 - 1


def images(x: Array, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Vectors (N, d) as byte images (N, H, W); values beyond [−1, 1] are cut."""
    return np.rint((x.clip(-1, 1) + 1) * 127.5).astype(np.uint8).reshape(len(x), *shape)


def fit(x: Array, *, modes: int, components: int, seed: int) -> dict[str, Array]:
    """The parameters of the mixture for vectors x (N, d): `weights`, `means`, `covariances`, `basis`, `centre` and `noise`.

    Args:
        x: images as vectors.
        modes: K.
        components: principal components.
        seed: of the initialisation.
    """
    pca = PCA(components, svd_solver="covariance_eigh").fit(x)
    z = pca.transform(x)
    ridge = RIDGE * pca.explained_variance_.mean()
    found = GaussianMixture(modes, covariance_type="full", reg_covar=ridge, random_state=seed, tol=1e-2).fit(z)
    outside = x.var(0).sum() - z.var(0).sum()
    order = np.argsort(-found.weights_)
    return {
        "weights": found.weights_[order],
        "means": found.means_[order],
        "covariances": found.covariances_[order],
        "basis": pca.components_,
        "centre": pca.mean_,
        "noise": np.array(np.sqrt(outside / max(x.shape[1] - components, 1))),
    }


def build(parameters: Mapping[str, NDArray[Any]]) -> Mixture:
    """The mixture in pixel space."""
    basis, noise = parameters["basis"], float(parameters["noise"])
    means = parameters["centre"] + parameters["means"] @ basis
    outside = noise**2 * (np.eye(basis.shape[1]) - basis.T @ basis)
    covariances = np.stack([basis.T @ one @ basis + outside for one in parameters["covariances"]])
    return Mixture(means, covariances, parameters["weights"])


def read() -> Mixture:
    """The mixture that the stage pixels_data wrote."""
    return build(files.read_arrays(MIXTURE))


def sample(mixture: Mixture, count: int, rng: np.random.Generator) -> Array:
    """`count` exact samples (count, d). `Mixture.sample` would need a root of a covariance for each sample, d² numbers."""
    component = np.sort(rng.choice(len(mixture.weights), size=count, p=mixture.weights))
    found = rng.standard_normal((count, mixture.means.shape[1]))
    for k, root in enumerate(np.linalg.cholesky(mixture.covariances)):
        own = component == k
        found[own] = mixture.means[k] + found[own] @ root.T
    return found[rng.permutation(count)]
