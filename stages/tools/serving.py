"""A trained encoder of images as an MLflow model: byte images (N, 28, 28) in, embeddings (N, D) out, as k-NN sees them.

MLflow runs this file when it loads a registered version (`registry.py`), from the copy of the package that the version holds.
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
from stages.mnist.encoder.embed import as_seen, embed
from stages.mnist.encoder.models import untrained
from stages.pipeline import files

# MLflow recommends annotations, from which it would make a schema; that is the signature of the version here.
warnings.filterwarnings("ignore", message="(?s).*Add type hints to the `predict` method")


class Encoder(PythonModel):  # type: ignore[misc]
    """A method on the images after phase 1."""

    method: Any
    shifts: int

    @classmethod
    def load(cls, params: Path, weights: Path, name: str) -> Encoder:
        """The encoder of the method called `name` from its params and its weights."""
        encoder = cls()
        loaded = parameters.load(params)
        encoder.method, encoder.shifts = untrained(loaded, name), loaded.mnist.evaluation.shifts
        files.load(encoder.method, weights)
        return encoder

    def load_context(self, context: Any) -> None:
        """Called by MLflow with the files of the version."""
        files = context.artifacts
        loaded = Encoder.load(Path(files["params"]), Path(files["weights"]), context.model_config["method"])
        self.method, self.shifts = loaded.method, loaded.shifts

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Embeddings of images; MLflow checks their shape and type against the signature."""
        return self.embed(np.asarray(model_input, dtype=np.uint8))

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (N, D) of byte images (N, 28, 28)."""
        z = embed(self.method, torch.from_numpy(images), torch.device("cpu"), self.shifts)
        seen: NDArray[np.float32] = as_seen(self.method, z).numpy()
        return seen


mlflow.models.set_model(Encoder())
