"""How are the L2-normalised embeddings distributed on the hypersphere?

Wang and Isola 2020, "Understanding contrastive representation learning through alignment and uniformity", arXiv 2005.10242.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.metrics.collapse import normalise

Array = NDArray[np.float64]


def alignment(z: Array, other: Array) -> Array:
    """E ‖u − u'‖², (S,), of the L2-normalised embeddings u, u' (S, N, D) of two views; 0 is perfect."""
    return np.asarray(((normalise(z) - normalise(other)) ** 2).sum(-1).mean(-1))


def uniformity(z: Array) -> Array:
    """Log E_{i≠j} exp(− 2 ‖u_i − u_j‖²), (S,), of the L2-normalised embeddings u of z (S, N, D); lower is more uniform."""
    u = normalise(z)
    norm = (u**2).sum(-1)
    squared = norm[..., None] + norm[..., None, :] - 2 * u @ u.swapaxes(-1, -2)
    count = z.shape[-2]
    off_diagonal = np.exp(-2 * squared).sum((-1, -2)) - np.exp(-2 * squared.diagonal(0, -2, -1)).sum(-1)
    return np.asarray(np.log(off_diagonal / (count * (count - 1))))
