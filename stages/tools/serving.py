"""A trained image encoder as an MLflow model: byte images to the embeddings (N, D) that k-NN classifies.

Images are (N, H, W), or (N, H, W, 3) in colour, with the side and the channels of the data set of its training.

MLflow runs this file when it loads a registered version (`registry.py`), from the copy of the package in the version.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.pyfunc.model import PythonModel
from numpy.typing import NDArray

from stages.config import params as parameters
from stages.mnist.encoder.embed import embed, for_knn
from stages.mnist.encoder.models import untrained
from stages.pipeline import files

# MLflow recommends type hints, from which it derives a schema; here the version's signature is the schema.
warnings.filterwarnings("ignore", message="(?s).*Add type hints to the `predict` method")


class Encoder(PythonModel):  # type: ignore[misc]
    """An image method after phase 1."""

    method: Any
    shifts: int

    @classmethod
    def load(cls, params: Path, weights: Path, name: str) -> Encoder:
        """Load the encoder of the method `name` from a params file and its weights."""
        encoder = cls()
        loaded = parameters.load(params)
        encoder.method, encoder.shifts = untrained(loaded, name), loaded.mnist.evaluation.shifts
        files.load(encoder.method, weights)
        return encoder

    def load_context(self, context: Any) -> None:
        """Load the encoder from the files of the version; called by MLflow."""
        files = context.artifacts
        loaded = Encoder.load(Path(files["params"]), Path(files["weights"]), context.model_config["method"])
        self.method, self.shifts = loaded.method, loaded.shifts

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Embeddings of images, whose shape and type MLflow checks against the signature."""
        return self.embed(np.asarray(model_input, dtype=np.uint8))

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (N, D) of byte images (N, H, W), or (N, H, W, 3) in colour."""
        z = embed(self.method, torch.from_numpy(images), torch.device("cpu"), self.shifts)
        embeddings: NDArray[np.float32] = for_knn(self.method, z).numpy()
        return embeddings


mlflow.models.set_model(Encoder())
