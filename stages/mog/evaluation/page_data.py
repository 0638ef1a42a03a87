"""The data of the page about one method on the mixture.

The first seed's fields at all nodes of the grid; the other seeds (`other_seeds`) and the first seed over training (`snapshots`,
at `steps`) on a coarser grid.

- Joint embedding: `embedding` (H, W, D), L2-normalised; the energy at a node is minus its product with the reference's.
- Score: `energy` (H, W) and `score` (H, W, 2) at the noise level `sigma`; `other_scores` (S − 1, H', W', 2); with a noise
  schedule, `noise_schedule` with `sigmas` (L,) and `scores` (L, H, W, 2).
- Predictor: `conditional` with `point` (2, G), the predicted hidden coordinate for each value of the visible one, at x₀ = value
  and at x₁ = value; with a conditional density, `density` (2, G, G) along these lines.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom

from stages.metrics.collapse import normalise
from stages.mog.evaluation.conditionals import read_out
from stages.mog.evaluation.model import Array, EvaluatedModel, apply, apply_scalar
from stages.nn.method import HasConditionalDensity, HasEncoder, HasNoiseSchedule, HasPredictor, HasScore
from stages.pipeline import page_script

FINE: Final = "uint16"
ROUGH: Final = "uint8"


def page_data(model: EvaluatedModel, fields: dict[str, Any]) -> dict[str, Any]:
    """The page's data of a method, quantised (pipeline/page_script.py).

    Args:
        model: the evaluated model.
        fields: its fields, as in reports/fields/METHOD.npz.
    """
    snapshots = page_script.evenly_spaced(len(model.steps), model.protocol.page.snapshots)
    content: dict[str, Any] = {"steps": model.steps[snapshots].tolist()}
    if isinstance(model.trained, HasScore):
        content |= _scores(model, fields, snapshots)
    elif isinstance(model.trained, HasEncoder):
        content |= _embeddings(model, snapshots)
    if isinstance(model.trained, HasPredictor):
        content["conditional"] = _conditionals(model)
    return content


def _embeddings(model: EvaluatedModel, snapshots: NDArray[np.int64]) -> dict[str, Any]:
    """The normalised embeddings of the nodes."""

    def normalised(method: Any, x: Array, y: Array) -> Array:
        nodes = np.stack(np.meshgrid(x, y), -1)
        z = normalise(apply(method.embed, nodes.reshape(-1, 2), model.device))
        return z.reshape(len(z), *nodes.shape[:-1], -1)

    count = _coarse(model)
    few = [np.linspace(axis[0], axis[-1], count) for axis in (model.grid_x, model.grid_y)]
    return {
        "kind": "embedding",
        "embedding": page_script.quantised(normalised(model.trained, model.grid_x, model.grid_y)[0], FINE),
        "other_seeds": page_script.quantised(normalised(model.trained, *few)[1:], ROUGH),
        "snapshots": page_script.quantised(normalised(model.snapshots, *few)[snapshots], ROUGH),
    }


def _scores(model: EvaluatedModel, fields: dict[str, Any], snapshots: NDArray[np.int64]) -> dict[str, Any]:
    """Energies and scores at the nodes."""
    trained, few = model.trained, _coarse(model)
    content = {
        "kind": "score",
        "sigma": trained.sigma,
        "energy": page_script.quantised(fields["energy"][0], FINE),
        "score": page_script.quantised(fields["score"][0], FINE),
        "other_seeds": page_script.quantised(_resampled(fields["energy"][1:], few), FINE),
        "other_scores": page_script.quantised(
            np.moveaxis(_resampled(np.moveaxis(fields["score"][1:], -1, 0), few), 0, -1), FINE
        ),
        "snapshots": page_script.quantised(_resampled(fields["snapshot_energy"][snapshots], few), FINE),
    }
    if isinstance(trained, HasNoiseSchedule):
        scores = [apply(lambda p, s=sigma: trained.score_at(p, s), model.nodes, model.device)[0] for sigma in trained.sigmas]
        content["noise_schedule"] = {
            "sigmas": list(trained.sigmas),
            "scores": page_script.quantised(model.on_grid(np.stack(scores), 2), FINE),
        }
    return content


def _coarse(model: EvaluatedModel) -> int:
    """Nodes along a side of the coarser grid."""
    return min(model.protocol.page.coarse, model.protocol.evaluation.grid)


def _resampled(field: Array, count: int) -> Array:
    """Linear interpolation of a field (..., H, W) to `count` evenly spaced nodes along each side."""
    factors = (*[1] * (field.ndim - 2), count / field.shape[-2], count / field.shape[-1])
    return zoom(field, factors, order=1) if field.size else np.zeros((*field.shape[:-2], count, count))


def _conditionals(model: EvaluatedModel) -> dict[str, Any]:
    """The first seed's predictions of each coordinate from the other, at the grid's values of the visible one."""
    train = model.train["x"].astype(np.float64)
    index = apply(model.trained.embed, model.train["x"], model.device)[0]
    axes = (model.grid_x, model.grid_y)
    points, densities = [], []
    for seen in (0, 1):
        hidden = 1 - seen
        mask = torch.zeros(2, device=model.device)
        mask[seen] = 1

        def visible(p: torch.Tensor, mask: torch.Tensor = mask) -> torch.Tensor:
            return mask.expand(p.shape)

        queries = np.zeros((len(axes[seen]), 2))
        queries[:, seen] = axes[seen]
        predicted = apply(lambda p, v=visible: model.trained.predict(p, v(p)), queries, model.device)[0]
        points.append(read_out(train[:, hidden], index, predicted, model.protocol.evaluation.readout_neighbours))
        if isinstance(model.trained, HasConditionalDensity):
            first, second = np.meshgrid(axes[seen], axes[hidden], indexing="ij")
            pairs = np.stack((first, second) if seen == 0 else (second, first), -1).reshape(-1, 2)
            log = apply_scalar(lambda p, v=visible: model.trained.log_density(p, v(p)), pairs, model.device)[0]
            densities.append(np.exp(log).reshape(first.shape))
    found = {"point": page_script.quantised(np.array(points), FINE)}
    return found | ({"density": page_script.quantised(np.array(densities), FINE)} if densities else {})
