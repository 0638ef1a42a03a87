"""What is measured of embeddings and reconstructions of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from stages.metrics import images
from stages.metrics.measured import figure
from stages.mnist.embed import CHUNK
from stages.mnist.reconstruction import Reconstruction
from stages.nn.conv import as_images

Array = NDArray[np.float64]


def linear_probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: NDArray[np.int64]) -> float:
    """Test accuracy of a multinomial logistic regression on standardised embeddings."""
    scale = StandardScaler().fit(train.numpy())
    probe = LogisticRegression(max_iter=100, tol=1e-3).fit(scale.transform(train.numpy()), train_labels.numpy())
    return float(probe.score(scale.transform(test.numpy()), test_labels))


def reconstruct(model: Reconstruction, perturbed: NDArray[np.uint8], device: torch.device) -> Array:
    """Reconstructions (N, 28, 28) of perturbed byte images (N, 28, 28)."""
    with torch.inference_mode():
        chunks = torch.from_numpy(perturbed).split(CHUNK)
        return torch.cat([model(as_images(c.to(device))).squeeze(1).cpu() for c in chunks]).double().numpy()


def closeness(clean: Array, other: Array) -> dict[str, Any]:
    """MSE, PSNR (decibels) and SSIM of images (N, 28, 28) in [0, 1] against the clean ones, averaged over the images."""
    return {
        "mse": figure(images.mse(clean, other).mean()),
        "psnr": figure(images.psnr(clean, other).mean()),
        "ssim": figure(images.ssim(clean, other).mean()),
    }


def projections(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Snapshots (T, N, D) on the first two principal components of the last one, (T, N, 2)."""
    pca = PCA(2, svd_solver="covariance_eigh").fit(embeddings[-1])
    return np.stack([pca.transform(moment) for moment in embeddings]).astype(np.float32)
