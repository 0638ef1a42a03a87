"""What the tutorials share: the mixture, the training of one method, and pictures in notebooks and on web pages."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.chdir(ROOT)

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from stages.config import mixture as mixtures
from stages.config import params as parameters
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.batches import random_batches
from stages.nn.build import build, configured
from stages.nn.noise import TrainingNoise
from stages.nn.points import Points
from stages.nn.training import fit
from stages.pipeline import seeding
from stages.plots.landscape import Grid

QUICK = bool(os.environ.get("ENERGY_WELLS_QUICK"))
"""Whether a test runs the tutorials, with very little training."""
PARAMS = parameters.load()
DESCRIBED = mixtures.chosen(PARAMS.mog)
MIXTURE: Mixture = setup.mixture(DESCRIBED)
"""The density of params.yaml."""
seeding.set_up_torch(threads=2)


def grid(nodes: int = 80) -> tuple[Grid, np.ndarray]:
    """The grid of all maps, and its nodes (H, W, 2)."""
    axes = setup.grid_axes(DESCRIBED, nodes)
    return Grid(x=axes[0], y=axes[1]), np.stack(np.meshgrid(*axes), -1)


def points(count: int, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    """Points of the mixture (N, 2), and the component of each."""
    x, component = MIXTURE.sample(count, np.random.default_rng(seed))
    return torch.tensor(x, dtype=torch.float32), component


def train(name: str, steps: int | None = None, **changes: Any) -> Any:
    """Train one copy of a method on the mixture, with its settings in params.yaml and these changes.

    Args:
        name: of the method.
        steps: training steps; by default those of params.yaml.
        changes: keyword arguments of the method's class.
    """
    settings, training = configured(PARAMS, name)
    torch.manual_seed(0)
    method = build(name, Points(copies=1, box=setup.box(DESCRIBED)), {**settings, **changes})
    schedule = training.model_dump(exclude={"batch_size"})
    schedule["steps"] = 20 if QUICK else steps or training.steps
    schedule["warmup"] = min(schedule["warmup"], schedule["steps"] // 2)
    generator = torch.Generator().manual_seed(0)
    x, _ = points(5000)
    batches = random_batches(x, lead=(1,), batch_size=training.batch_size, generator=generator)
    source = TrainingNoise(generator)
    fit(method, batches, name=name, source=source, log_every=100, snapshots=[], on_snapshot=print, report=False, **schedule)
    return method.eval()


def at(function: Any, x: Any) -> np.ndarray:
    """The values of a method's function at points (..., 2), as an array without the dimension of the copies."""
    flat = torch.tensor(np.asarray(x), dtype=torch.float32).reshape(-1, 2)
    with torch.no_grad():
        values = function(flat[None])[0].double().numpy()
    return values.reshape(*np.asarray(x).shape[:-1], *values.shape[1:])


def show(figure: Figure) -> Image.Image:
    """A figure as an image, which notebooks display."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return Image.open(content)
