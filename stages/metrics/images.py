"""How close is a reconstruction to its image? Each metric maps batches with values in [0, 1] to (N,).

A batch is (N, H, W), or (N, H, W, 3) in colour: then a metric is the mean over the channels, and the PSNR that of the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

Array = NDArray[np.float64]
WINDOW = 7
"""Side of the windows of the structural similarity, pixels."""


def mse(true: Array, other: Array) -> Array:
    """Mean squared error per pixel."""
    return np.asarray(((true - other) ** 2).mean(_within(true)))


def psnr(true: Array, other: Array) -> Array:
    """Peak signal-to-noise ratio 10 log₁₀(1 / MSE), in decibels."""
    return np.asarray(-10 * np.log10(np.maximum(mse(true, other), 1e-12)))


def ssim(true: Array, other: Array) -> Array:
    """Structural similarity, averaged over all windows of 7 × 7 pixels that lie inside the image; 1 for equal images.

        (2 μ_a μ_b + c₁)(2 σ_ab + c₂) / ((μ_a² + μ_b² + c₁)(σ_a² + σ_b² + c₂)),   c₁ = .01², c₂ = .03²

    with the sample (co)variances of the window, the default of `skimage.metrics.structural_similarity`.
    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".
    """
    a, b = true.astype(np.float64), other.astype(np.float64)

    def mean(x: Array) -> Array:
        inside = WINDOW // 2
        window = (0, WINDOW, WINDOW, 0)[: x.ndim]
        return np.asarray(uniform_filter(x, size=window)[:, inside:-inside, inside:-inside])

    sample = WINDOW**2 / (WINDOW**2 - 1)
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = sample * (mean(a * a) - mean_a**2), sample * (mean(b * b) - mean_b**2)
    covariance = sample * (mean(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return np.asarray((similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean(_within(a)))


def _within(images: Array) -> tuple[int, ...]:
    """The axes of a single image."""
    return tuple(range(1, images.ndim))
