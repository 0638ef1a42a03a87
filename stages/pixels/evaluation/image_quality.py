"""How near are generated images to real ones? Measured in an embedding, and by the nearest training image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.metrics.neighbours import nearest

Array = NDArray[np.float64]
NEAR = 0.01
"""Quantile of the distances of test images to the nearest training image; a generated image that is nearer may be a copy."""


def frechet_distance(a: Array, b: Array) -> float:
    """The Fréchet distance of two normal densities with the moments of two sets of embeddings.

        ‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr (Σ_a Σ_b)^½

    With the centred rows A and B, tr (Σ_a Σ_b)^½ is the sum of the singular values of A Bᵀ, divided by √((N − 1)(M − 1)): exact
    for covariances of any rank. For few images the distance of equal densities is well above 0: compare it with that of as many
    real images. Heusel et al. 2017, "GANs trained by a two time-scale update rule", arXiv 1706.08500, with another embedding.

    Args:
        a: embeddings (N, D).
        b: embeddings (M, D).
    """
    first, second = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((len(a) - 1) * (len(b) - 1))
    root = np.linalg.svd(first @ second.T, compute_uv=False).sum() / scale
    own = (first**2).sum() / (len(a) - 1) + (second**2).sum() / (len(b) - 1)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + own - 2 * root)


def precision_and_recall(real: Array, generated: Array, neighbours: int = 3) -> tuple[float, float]:
    """The fraction of generated images within the real ones, and of real images within the generated ones.

    An image lies within a set if it is nearer to one of its members than that member's k-th neighbour in the set is.
    Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models", arXiv 1904.06991.

    Args:
        real: embeddings (N, D).
        generated: embeddings (N, D), as many.
        neighbours: k.
    """
    a, b = torch.from_numpy(real), torch.from_numpy(generated)
    between = torch.cdist(a, b)
    # The nearest one to a member is the member itself.
    of_real, of_generated = (torch.cdist(one, one).kthvalue(neighbours + 1).values for one in (a, b))
    precision = (between <= of_real[:, None]).any(0).double().mean()
    recall = (between <= of_generated[None]).any(1).double().mean()
    return float(precision), float(recall)


def distance_to_nearest(queries: Array, training: Tensor) -> Array:
    """The Euclidean distance of images (M, d) to the nearest training image (N, d), (M,)."""
    points = torch.from_numpy(queries).float()
    found = training[nearest(training, points, 1)[:, 0]]
    return np.asarray((points - found).norm(dim=-1).double().numpy())


def memorised(generated: Array, real: Array) -> float:
    """The share of generated images that are nearer to a training image than all but the nearest `NEAR` of the real ones.

    It is about `NEAR` if no image is a copy.

    Args:
        generated: distances of generated images to the nearest training image (N,).
        real: distances of real images that are not in the training set (M,).
    """
    return float((generated < np.quantile(real, NEAR)).mean())
