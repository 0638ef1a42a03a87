"""The data of the page about one method on the mixture.

The first seed's fields at every node of the grid and, in `other_seeds` and `moments`, those of the other seeds and of moments
of the training (at `steps`) on a coarser grid.

- Of a joint embedding: `embedding` (H, W, D), of unit length; the energy at a node is minus its product with the reference's.
- Of a score: `energy` (H, W) and `score` (H, W, 2), at the noise level `sigma`; `other_scores` (S − 1, H', W', 2); where the
  method has a `ladder`, its `sigmas` (L,) and `scores` (L, H, W, 2) at each of them.
- Of a conditional method: `point` (2, G), the prediction of the hidden coordinate at each value of the seen one, for the line
  x₀ = value and x₁ = value; where it knows a density, `density` (2, G, G), along each of these lines.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom

from stages.metrics.collapse import normalise
from stages.mog.evaluation import measure
from stages.mog.evaluation.model import Array, Subject, apply, values
from stages.nn.method import Anneals, Densities, Embeds, Predicts, Scores
from stages.pipeline import page_script

FINE: Final = "uint16"
ROUGH: Final = "uint8"


def page_data(subject: Subject, fields: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a method, quantised (page_script.py).

    Args:
        subject: the evaluated model.
        fields: its fields as they are written to reports/fields.
    """
    moments = page_script.few(len(subject.steps), subject.protocol.atlas.moments)
    content: dict[str, Any] = {"steps": subject.steps[moments].tolist()}
    if isinstance(subject.trained, Scores):
        content |= _scores(subject, fields, moments)
    elif isinstance(subject.trained, Embeds):
        content |= _embeddings(subject, moments)
    if isinstance(subject.trained, Predicts):
        content["conditional"] = _conditionals(subject)
    return content


def _embeddings(subject: Subject, moments: NDArray[np.int64]) -> dict[str, Any]:
    """The directions of the embeddings of the nodes."""

    def directions(model: Any, x: Array, y: Array) -> Array:
        nodes = np.stack(np.meshgrid(x, y), -1)
        z = normalise(apply(model.embed, nodes.reshape(-1, 2), subject.device))
        return z.reshape(len(z), *nodes.shape[:-1], -1)

    count = _coarse(subject)
    few = [np.linspace(axis[0], axis[-1], count) for axis in (subject.grid_x, subject.grid_y)]
    return {
        "kind": "embedding",
        "embedding": page_script.quantised(directions(subject.trained, subject.grid_x, subject.grid_y)[0], FINE),
        "other_seeds": page_script.quantised(directions(subject.trained, *few)[1:], ROUGH),
        "moments": page_script.quantised(directions(subject.snapshots, *few)[moments], ROUGH),
    }


def _scores(subject: Subject, fields: dict[str, Any], moments: NDArray[np.int64]) -> dict[str, Any]:
    """Energies and scores at the nodes."""
    trained, few = subject.trained, _coarse(subject)
    content = {
        "kind": "score",
        "sigma": trained.sigma,
        "energy": page_script.quantised(fields["energy"][0], FINE),
        "score": page_script.quantised(fields["score"][0], FINE),
        "other_seeds": page_script.quantised(_resampled(fields["energy"][1:], few), FINE),
        "other_scores": page_script.quantised(
            np.moveaxis(_resampled(np.moveaxis(fields["score"][1:], -1, 0), few), 0, -1), FINE
        ),
        "moments": page_script.quantised(_resampled(fields["snapshot_energy"][moments], few), FINE),
    }
    if isinstance(trained, Anneals):
        rungs = [apply(lambda p, s=sigma: trained.score_at(p, s), subject.nodes, subject.device)[0] for sigma in trained.sigmas]
        content["ladder"] = {
            "sigmas": list(trained.sigmas),
            "scores": page_script.quantised(subject.on_grid(np.stack(rungs), 2), FINE),
        }
    return content


def _coarse(subject: Subject) -> int:
    """How many nodes along a side other seeds and moments of the training are shown on."""
    return min(subject.protocol.atlas.coarse, subject.protocol.evaluation.grid)


def _resampled(field: Array, count: int) -> Array:
    """A field (..., H, W) at so many evenly spaced nodes along each side, between its own by linear interpolation."""
    factors = (*[1] * (field.ndim - 2), count / field.shape[-2], count / field.shape[-1])
    return zoom(field, factors, order=1) if field.size else np.zeros((*field.shape[:-2], count, count))


def _conditionals(subject: Subject) -> dict[str, Any]:
    """What the first seed predicts of one coordinate from the other, at the grid's values of it."""
    train = subject.train["x"].astype(np.float64)
    index = apply(subject.trained.embed, subject.train["x"], subject.device)[0]
    axes = (subject.grid_x, subject.grid_y)
    points, densities = [], []
    for seen in (0, 1):
        hidden = 1 - seen
        mask = torch.zeros(2, device=subject.device)
        mask[seen] = 1

        def visible(p: torch.Tensor, mask: torch.Tensor = mask) -> torch.Tensor:
            return mask.expand(p.shape)

        queries = np.zeros((len(axes[seen]), 2))
        queries[:, seen] = axes[seen]
        predicted = apply(lambda p, v=visible: subject.trained.predict(p, v(p)), queries, subject.device)[0]
        points.append(measure.read_out(train[:, hidden], index, predicted, subject.protocol.evaluation.readout_neighbours))
        if isinstance(subject.trained, Densities):
            first, second = np.meshgrid(axes[seen], axes[hidden], indexing="ij")
            pairs = np.stack((first, second) if seen == 0 else (second, first), -1).reshape(-1, 2)
            log = values(lambda p, v=visible: subject.trained.log_density(p, v(p)), pairs, subject.device)[0]
            densities.append(np.exp(log).reshape(first.shape))
    found = {"point": page_script.quantised(np.array(points), FINE)}
    return found | ({"density": page_script.quantised(np.array(densities), FINE)} if densities else {})
