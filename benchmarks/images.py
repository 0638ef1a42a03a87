"""Images on which trainings are timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from stages.config.params import Params
from stages.mnist.encoder.probes import small_digits
from stages.pipeline import files

FILE = Path("data/mnist/train.npz")
"""The pipeline's training and validation images."""


def training_images(params: Params) -> tuple[Tensor, str]:
    """The images that the pipeline trains on, bytes (N, 28, 28), and a description of their source.

    If the pipeline has not run yet, scikit-learn's digits replace them, enlarged from 8 × 8 pixels and repeated to the same
    number. They are digits too, so operations whose time depends on pixel values take the same time.
    """
    count = params.mnist.train_images - params.mnist.validation_images
    if FILE.exists():
        images = torch.from_numpy(files.read_arrays(FILE)["images"])
        return images[: len(images) - params.mnist.validation_images], f"the training images of {FILE}"
    few, _ = small_digits()
    reason = f"scikit-learn's digits, enlarged and repeated, since {FILE} is missing"
    return torch.from_numpy(np.resize(few, (count, *few.shape[1:]))), reason


class PILDataset(Dataset[Any]):
    """Images as in torchvision's MNIST: a PIL image made from the bytes, transformed, and a label.

    Args:
        images: bytes (N, 28, 28).
        transform: applied to the PIL image.
    """

    def __init__(self, images: Tensor, transform: Any = None) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """The transformed image and the label 0, which no method here uses."""
        image = Image.fromarray(self.images[index].numpy())
        return (self.transform(image) if self.transform else image), 0
