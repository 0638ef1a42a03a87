"""The model under evaluation, with the points and the grid it is evaluated on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.core.errors import UserError
from stages.mog.problem import protocol, setup
from stages.nn.build import build
from stages.nn.points import Points
from stages.pipeline import artifacts, card, files, seeding

Array = NDArray[np.float64]
CHUNK = 1024
"""Points per forward pass: a layer's activations then fit the processor's cache, which halves the time."""


class EvaluatedModel:
    """A trained method with all that its evaluation needs.

    Attributes:
        trained, untrained: the method after and before training, S copies.
        snapshots: the first seed's method over training, T copies, at `steps` (T,).
        train, test: `x` (N, d) and `component` (N,).
        views: fixed `noise` (R, 2, N, d), `visible` (R, N, d) and `order` (R, N) of the test points.
        plane: whether the points have two coordinates.
        grid_x, grid_y, nodes: coordinates of the grid, (W,) and (H,), and its nodes (H · W, 2), in the plane.

    Raises:
        UserError: a file of the model is missing, damaged or does not match the params.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.protocol, self.card = protocol.read(), card.read(artifacts.card(name))
        self.seeds, self.settings = self.card.seeds, self.card.settings
        seeding.set_up_torch(threads=1)
        self.device = seeding.device(self.protocol)
        self.described = setup.read()
        self.mixture = setup.mixture(self.described)
        self.plane = self.mixture.means.shape[1] == 2
        self.rng = np.random.default_rng(seeding.stream(self.protocol, "mog.evaluate"))
        self.train = files.read_arrays(artifacts.data("mog", "train"))
        self.test = files.read_arrays(artifacts.data("mog", "test"))
        self.views = files.read_arrays(artifacts.VIEWS)
        self.untrained = self._method(self.seeds)
        self.trained = self._method(self.seeds)
        files.load(self.trained, artifacts.weights("mog", name))
        kept = artifacts.parameter_snapshots(name)
        snapshots = files.read_tensors(kept)
        if "snapshot_steps" not in snapshots:
            raise UserError(f"{kept} has no snapshot_steps: {files.REMEDY}")
        self.steps = snapshots.pop("snapshot_steps").numpy()
        self.snapshots = self._method(len(self.steps))
        files.fill(self.snapshots, snapshots, kept)
        self.grid_x, self.grid_y = setup.grid_axes(self.described, self.protocol.evaluation.grid)
        self.nodes = np.stack(np.meshgrid(self.grid_x, self.grid_y), -1).reshape(-1, 2)

    def _method(self, copies: int) -> Any:
        torch.manual_seed(seeding.stream(self.card, "mog.init"))
        return build(self.name, Points(copies=copies, box=setup.box(self.described)), self.settings).to(self.device).eval()

    def heldout_batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches of test points (B, 2) with their noise (2, B, 2) and their visible coordinates (B, 2)."""
        x = torch.from_numpy(self.test["x"]).to(self.device)
        noise, visible = (torch.from_numpy(self.views[key]).to(self.device) for key in ("noise", "visible"))
        size = min(self.card.train.batch_size, len(x))
        for round_, order in enumerate(torch.from_numpy(self.views["order"]).to(self.device)):
            for start in range(0, len(x) - size + 1, size):
                rows = order[start : start + size]
                yield x[rows], noise[round_][:, rows], visible[round_][rows]

    def on_grid(self, values: Array, components: int = 0) -> Array:
        """Reshape values at the nodes (..., H · W) to (..., H, W), or vectors (..., H · W, C) to (..., H, W, C)."""
        shape = (len(self.grid_y), len(self.grid_x)) + ((components,) if components else ())
        return values.reshape(*values.shape[: values.ndim - 1 - bool(components)], *shape)


def apply(function: Any, x: NDArray[Any], device: torch.device) -> Array:
    """Evaluate a network's vector function without gradients, in chunks.

    Args:
        function: from points (..., N, 2) to vectors (S, N, C).
        x: points (N, d), or (S, N, d) with separate points for each copy of the network.
        device: device of the network.

    Returns:
        (S, N, C), float64.
    """
    with torch.no_grad():  # not inference_mode: some scores are gradients
        chunks = torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device).split(CHUNK, dim=-2)
        values: Tensor = torch.cat([function(chunk) for chunk in chunks], -2)
    return values.cpu().double().numpy()


def apply_scalar(function: Any, x: NDArray[Any], device: torch.device) -> Array:
    """Evaluate a network's scalar function as `apply` does, (S, N)."""
    return apply(lambda points: function(points).unsqueeze(-1), x, device)[..., 0]
