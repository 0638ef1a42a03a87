"""A perfect method and a broken one, measured by the project's own functions: what claims have to tell apart."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from stages.metrics import collapse
from stages.metrics.measured import figure
from stages.mog import measure, setting
from stages.mog.measure import Embeddings
from stages.mog.mixture import Array, Mixture
from stages.mog.scores import region
from tests.plane import MOG, REFERENCE

SIGMA, VIEW = 0.5, 0.3
BOUNDS = {"variance_ratio": 0.01, "normalised_std": 0.1}
GRID_X, GRID_Y = setting.grid_axes(MOG)
NODES = np.stack(np.meshgrid(GRID_X, GRID_Y), -1).reshape(-1, 2)
LOST = Mixture([[-5, 5]], [np.eye(2)], [1])
"""Knows one of the modes only."""


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _score(believed: Mixture, sampled: Mixture, sign: float = 1) -> dict[str, Any]:
    """The figures of the score and the energy of one mixture where another is the truth."""
    true, learned = REFERENCE.smoothed(SIGMA), believed.smoothed(SIGMA)
    energy = -sign * learned.log_density(NODES).reshape(1, len(GRID_Y), len(GRID_X))
    arrows = sign * learned.score(NODES)
    exact, _ = REFERENCE.smoothed(SIGMA).sample(20_000, np.random.default_rng(1))
    samples, _ = sampled.smoothed(SIGMA).sample(20_000, np.random.default_rng(2))
    found, control = (measure.sample_quality(true, x[None], region(MOG, SIGMA), _rng()) for x in (samples, exact))
    return {
        "score": {
            **measure.score(true, lambda x: sign * learned.score(x)[None], 2000, _rng()),
            **measure.energy(true, energy, GRID_X, GRID_Y),
            **measure.directions(true, arrows[None], true.score(NODES), NODES),
        },
        "sampling": {"langevin": found, "control_langevin": control, "annealed": found, "control_annealed": control},
    }


def _critic(scale: float) -> dict[str, Any]:
    """The figures of the mutual information times a factor."""
    x, _ = REFERENCE.sample(200, _rng())
    other = x + VIEW * _rng().standard_normal(x.shape)
    truth = REFERENCE.mutual_information(x[:, None], other[None], 0, VIEW)
    # With a clean first view log p(x' | x) is that of the noise.
    slope = scale * (-(other - x) / VIEW**2 - REFERENCE.smoothed(VIEW).score(other))
    implied = measure.implied_score(slope[None], REFERENCE, x, other, 0, VIEW)
    return {"critic": measure.critic(scale * truth[None], truth) | implied}


def _embedding(after: Array, before: Array, train: Array, component: tuple[Any, Any], x: Array) -> dict[str, Any]:
    """The figures of an embedding of the test points x, with that of the training points where they are needed."""
    log_density = REFERENCE.log_density(NODES)
    empty = NODES[log_density < log_density.max() + np.log(1e-3)]
    raw = Embeddings(train[None], x[None], *component)
    seen, untrained = (Embeddings(train[None], z[None], *component) for z in (after, before))
    spread_out = np.ptp(after) > 1e-3
    # Cosine energies that are low on the data of one component and high elsewhere, or the same everywhere.
    data = np.eye(3)[component[1]] if spread_out else after
    areas, depths = measure.wells(
        data[None], component[1], np.tile(-np.ones(3) if spread_out else after[0], (1, len(empty), 1))
    )
    wells = {"auc": figure(areas), "depth": figure(depths)}
    return {
        "structure": measure.geometry(x, after[None], before[None], 5, cosine=False),
        "collapse": collapse.report(after[None], before[None], bounds=BOUNDS),
        "clusters": measure.clusters(REFERENCE, raw, seen, untrained, len(x), 5),
        "wells": wells,
    }


def _conditional(known: bool, train: Array, x: Array) -> dict[str, Any]:
    """The figures of the true conditionals, or of what ignores the visible coordinate: its own mean and one normal density."""
    predicted, log_density = [], []
    for hidden in (0, 1):
        mean = REFERENCE.conditional_mean(hidden, x[:, 1 - hidden]) if known else np.full(len(x), train[:, hidden].mean())
        pair = (mean, x[:, 1 - hidden] if known else np.full(len(x), train[:, 1 - hidden].mean()))
        predicted.append(np.stack(pair if hidden == 0 else pair[::-1], -1)[None])
        one = -((x[:, hidden] - x[:, hidden].mean()) ** 2) / x[:, hidden].var() / 2 - np.log(2 * np.pi * x[:, hidden].var()) / 2
        log_density.append((REFERENCE.conditional_log_density(hidden, x) if known else one)[None])
    figures = measure.conditional(REFERENCE, train, train[None], x, predicted, 50)
    if known:
        # An embedding that leaves x₀ out is read out as the mean over all its modes.
        blind = measure.conditional(REFERENCE, train, train[None, :, 1:], x, [x[None, :, 1:]] * 2, 50)
        figures["r2_x0_given_x1"] = blind["r2_x0_given_x1"]
    return {"conditional": figures | measure.likelihood(REFERENCE, x, log_density)}


@cache
def spread() -> dict[str, Any]:
    """An embedding that fills 16 dimensions, alike in all seeds, beside what is exact."""
    z = np.random.default_rng(5).standard_normal((1, 500, 16)).repeat(4, 0)
    return {**exact(), "collapse": collapse.report(z, z, bounds=BOUNDS)}


@cache
def fallen() -> dict[str, Any]:
    """A collapsed one that every other seed escapes."""
    z = np.random.default_rng(5).standard_normal((4, 500, 16)) * np.array([1e-4, 1e-3, 1e-4, 1e-3])[:, None, None] + 1e-3
    z[:, :, 1:] *= 1e-3
    return {**broken(), "collapse": collapse.report(z, np.ones_like(z) + z, bounds=BOUNDS)}


@cache
def exact() -> dict[str, Any]:
    """Everything as the truth has it."""
    (train, a), (x, b) = REFERENCE.sample(3000, _rng()), REFERENCE.sample(400, np.random.default_rng(1))
    apart = x + 3 * REFERENCE.means[b]
    noise = np.random.default_rng(2).standard_normal(x.shape)
    return {
        "batch_contrast": figure([1.0]),
        **_score(REFERENCE, REFERENCE),
        **_critic(1),
        **_embedding(apart, x + 9 * noise, train, (a, b), x),
        **_conditional(True, train, REFERENCE.sample(2000, np.random.default_rng(4))[0]),
    }


@cache
def broken() -> dict[str, Any]:
    """A score of the wrong sign, samples of one mode, a critic without slope, a collapsed embedding, constants."""
    (train, a), (x, b) = REFERENCE.sample(3000, _rng()), REFERENCE.sample(400, np.random.default_rng(1))
    collapsed = np.ones_like(x) + 1e-6 * np.random.default_rng(3).standard_normal(x.shape)
    return {
        "batch_contrast": figure([0.0]),
        **_score(REFERENCE, LOST, sign=-1),
        **_critic(0),
        **_embedding(collapsed, x, train, (a, b), x),
        **_conditional(False, train, REFERENCE.sample(2000, np.random.default_rng(4))[0]),
    }
