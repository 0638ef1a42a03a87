"""How near are generated images to real ones? Measured in an embedding, and by the nearest training image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

from stages.metrics.neighbours import nearest

Array = NDArray[np.float64]


def frechet_distance(a: Array, b: Array) -> float:
    """The Fréchet distance of two normal densities with the moments of two sets of embeddings.

        ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½)

    Heusel et al. 2017, "GANs trained by a two time-scale update rule", arXiv 1706.08500, there with another embedding.

    Args:
        a: embeddings (N, D).
        b: embeddings (M, D).
    """
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.real(sqrtm(first @ second))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2 * np.trace(root))


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
