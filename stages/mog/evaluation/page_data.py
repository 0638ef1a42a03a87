"""The data of the page about one method on the mixture, in two scripts.

The overview, which the page loads for every method: `kind`, embedding or score; the `steps` of the snapshots; and the first
seed's field on a coarse grid, `coarse` (H', W', D) or (H', W').

The details, which it loads for the methods that it shows in large: the first seed's fields at all nodes of the grid, and on the
coarse grid those of the other seeds (`other_seeds`) and of the first seed over training (`snapshots`).

- Joint embedding: `embedding` (H, W, D), L2-normalised; the energy at a node is minus its product with the reference's.
  `points` (T, P, 2): the embeddings of the page's test points at each snapshot, minus their mean, on the first two principal
  components of all snapshots together.
- Score: `energy` (H, W) and `score` (H, W, 2) at the noise level `sigma`; `other_scores` (S − 1, H', W', 2); with a noise
  schedule, `noise_schedule` with `sigmas` (L,) and `scores` (L, H, W, 2).
- Predictor: `conditional` with `point` (2, G), the predicted hidden coordinate for each value of the visible one, at x₀ = value
  and at x₁ = value; with a conditional density, `density` (2, G, G) along these lines.
- Critic: `critic` with `pmi` (H'', W'', H', W'), its estimate of the pointwise mutual information of each first view, on a grid
  with every second coarse node, and each second view; and the standard deviations `first` and `second` of the views' noise.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from scipy.special import logsumexp, softmax

from stages.metrics.collapse import normalise
from stages.mog.evaluation.conditionals import read_out
from stages.mog.evaluation.model import Array, EvaluatedModel, apply, apply_scalar
from stages.nn.method import HasConditionalDensity, HasCritic, HasEncoder, HasNoiseSchedule, HasPredictor, HasScore
from stages.pipeline import page_script

FINE: Final = "uint16"
ROUGH: Final = "uint8"
PMI_RANGE: Final = 12.0
"""Largest absolute PMI on the page, in nats: far from the data it is unbounded."""


def overview(model: EvaluatedModel, fields: dict[str, Any]) -> dict[str, Any]:
    """The overview of a method, quantised (pipeline/page_script.py).

    Args:
        model: the evaluated model.
        fields: its fields, as in reports/fields/METHOD.npz.
    """
    content: dict[str, Any] = {"steps": model.steps[_snapshots(model)].tolist()}
    if isinstance(model.trained, HasScore):
        coarse = page_script.quantised(_resampled(fields["energy"][0], _coarse(model)), FINE)
        return content | {"kind": "score", "sigma": model.trained.sigma, "coarse": coarse}
    if isinstance(model.trained, HasEncoder):
        content |= {"kind": "embedding", "coarse": page_script.quantised(_normalised(model, model.trained)[0], ROUGH)}
    return content


def details(model: EvaluatedModel, fields: dict[str, Any]) -> dict[str, Any]:
    """The details of a method, quantised.

    Args:
        model: the evaluated model.
        fields: its fields, as in reports/fields/METHOD.npz.
    """
    content: dict[str, Any] = {}
    if isinstance(model.trained, HasScore):
        content |= _scores(model, fields)
    elif isinstance(model.trained, HasEncoder):
        content |= _embeddings(model)
    if isinstance(model.trained, HasPredictor):
        content["conditional"] = _conditionals(model)
    if isinstance(model.trained, HasCritic):
        content["critic"] = _critic(model)
    return content


def _snapshots(model: EvaluatedModel) -> NDArray[np.int64]:
    """Indices of the snapshots on the page."""
    return page_script.evenly_spaced(len(model.steps), model.protocol.page.snapshots)


def _normalised(model: EvaluatedModel, method: Any, *, fine: bool = False) -> Array:
    """The L2-normalised embeddings of the nodes of the coarse or of the fine grid, (S, H, W, D)."""
    axes = [model.grid_x, model.grid_y] if fine else _coarse_axes(model)
    nodes = np.stack(np.meshgrid(*axes), -1)
    z = normalise(apply(method.embed, nodes.reshape(-1, 2), model.device))
    return z.reshape(len(z), *nodes.shape[:-1], -1)


def _embeddings(model: EvaluatedModel) -> dict[str, Any]:
    """The normalised embeddings of the nodes and of the test points."""
    snapshots = _snapshots(model)
    x = model.test["x"][: model.protocol.page.points]
    z = normalise(apply(model.snapshots.embed, x, model.device)[snapshots])
    z -= z.mean(1, keepdims=True)
    axes = np.linalg.svd(z.reshape(-1, z.shape[-1]), full_matrices=False)[2][:2]
    return {
        "embedding": page_script.quantised(_normalised(model, model.trained, fine=True)[0], FINE),
        "other_seeds": page_script.quantised(_normalised(model, model.trained)[1:], ROUGH),
        "snapshots": page_script.quantised(_normalised(model, model.snapshots)[snapshots], ROUGH),
        "points": page_script.quantised(z @ axes.T, ROUGH),
    }


def _scores(model: EvaluatedModel, fields: dict[str, Any]) -> dict[str, Any]:
    """Energies and scores at the nodes."""
    trained, few = model.trained, _coarse(model)
    content = {
        "energy": page_script.quantised(fields["energy"][0], FINE),
        "score": page_script.quantised(fields["score"][0], FINE),
        "other_seeds": page_script.quantised(_resampled(fields["energy"][1:], few), FINE),
        "other_scores": page_script.quantised(
            np.moveaxis(_resampled(np.moveaxis(fields["score"][1:], -1, 0), few), 0, -1), FINE
        ),
        "snapshots": page_script.quantised(_resampled(fields["snapshot_energy"][_snapshots(model)], few), FINE),
    }
    if isinstance(trained, HasNoiseSchedule):
        scores = [apply(lambda p, s=sigma: trained.score_at(p, s), model.nodes, model.device)[0] for sigma in trained.sigmas]
        content["noise_schedule"] = {
            "sigmas": list(trained.sigmas),
            "scores": page_script.quantised(model.on_grid(np.stack(scores), 2), FINE),
        }
    return content


def _critic(model: EvaluatedModel) -> dict[str, Any]:
    """The first seed's estimate of the PMI: its critic minus the log of the mean of exp c(x, ·) over second views.

    The mean is the quadrature on the fine grid, weighted by the density of a second view.
    """
    second = model.settings["view"]["noise"]
    first = second if model.trained.both_noisy else 0.0
    axes = _coarse_axes(model)
    views = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
    references = np.stack(np.meshgrid(*(axis[::2] for axis in axes)), -1).reshape(-1, 2)
    weights = softmax(model.mixture.smoothed(second).log_density(model.nodes))

    def critic(others: Array) -> Array:
        pairs = [torch.from_numpy(x.astype(np.float32)).to(model.device) for x in (references, others)]
        with torch.no_grad():
            found: torch.Tensor = model.trained.critic(*pairs)
        return found[0].cpu().double().numpy()

    pmi = critic(views) - logsumexp(critic(model.nodes), axis=1, b=weights, keepdims=True)
    sides = [len(axis) for axis in (axes[1][::2], axes[0][::2], axes[1], axes[0])]
    shown = np.clip(pmi, -PMI_RANGE, PMI_RANGE).reshape(sides)
    return {"pmi": page_script.quantised(shown, ROUGH), "first": first, "second": second}


def _coarse(model: EvaluatedModel) -> int:
    """Nodes along a side of the coarser grid."""
    return min(model.protocol.page.coarse, model.protocol.evaluation.grid)


def _coarse_axes(model: EvaluatedModel) -> list[Array]:
    """x and y of the coarse grid."""
    return [np.linspace(axis[0], axis[-1], _coarse(model)) for axis in (model.grid_x, model.grid_y)]


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
