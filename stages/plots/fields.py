"""reports/fields/METHOD.npz of the mixture as typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Embedding:
    """Fields of a method with an encoder."""

    walk: Array
    """The path of the reference point, (F, 2)."""
    walk_energy: Array
    """The energy at each reference point of the path, (F, H, W)."""
    variance_ratio: Array
    """Total variance over training relative to the start, (T,)."""
    normalised_std: Array
    """Standard deviation of the normalised embeddings times √D over training, (T,)."""


@dataclass(frozen=True)
class Score:
    """Fields of a method with a score."""

    learned: Array
    """s_θ on the grid, (S, H, W, 2)."""
    true: Array
    """∇ log p_σ on the grid, (H, W, 2)."""
    particles: Array
    """The sampler's particles, (F, N, 2), at `particle_steps` (F,)."""
    particle_steps: Array
    mode_weights: Array
    """Mode weights of the samples, (S, K), and of the control's samples."""
    mode_weights_control: Array


@dataclass(frozen=True)
class Critic:
    """Fields of a method with a critic: PMI and critic of pairs of views, centred for each first view, (P,)."""

    true: Array
    learned: Array


@dataclass(frozen=True)
class Conditional:
    """Fields of a method with a predictor: the conditional of x₀ at one value of x₁."""

    seen: float
    """x₁."""
    axis: Array
    """Values of x₀, (C,)."""
    true: Array
    """The true density at these values, (C,)."""
    mean: float
    """The true mean."""
    point: float
    """The predicted x₀."""
    density: Array | None
    """The learned density at these values, (C,)."""


@dataclass(frozen=True)
class Fields:
    """All fields of a method."""

    grid_x: Array
    grid_y: Array
    energy: Array
    """(S, H, W): in nats, or −cos to the reference point without a score."""
    log_density: Array
    """The analytic log-density on the grid, (H, W)."""
    steps: Array
    """Training steps of the snapshots, (T,)."""
    snapshot_energy: Array
    """(T, H, W)."""
    embedding: Embedding | None
    score: Score | None
    critic: Critic | None
    conditional: Conditional | None

    @property
    def lowest(self) -> float:
        """The lowest true energy on the grid, in nats."""
        return float(-self.log_density.max())


def parse(arrays: Mapping[str, Array]) -> Fields:
    """The record of the arrays of a file of fields."""
    return Fields(
        grid_x=arrays["grid_x"],
        grid_y=arrays["grid_y"],
        energy=arrays["energy"],
        log_density=arrays["log_density"],
        steps=arrays["snapshot_steps"],
        snapshot_energy=arrays["snapshot_energy"],
        embedding=_embedding(arrays) if "embedding" in arrays else None,
        score=_score(arrays) if "score" in arrays else None,
        critic=Critic(arrays["critic_true"], arrays["critic_learned"]) if "critic_true" in arrays else None,
        conditional=_conditional(arrays) if "conditional_axis" in arrays else None,
    )


def _embedding(arrays: Mapping[str, Array]) -> Embedding:
    return Embedding(
        walk=arrays["walk"],
        walk_energy=arrays["walk_energy"],
        variance_ratio=arrays["snapshot_variance_ratio"],
        normalised_std=arrays["snapshot_normalised_std"],
    )


def _score(arrays: Mapping[str, Array]) -> Score:
    return Score(
        learned=arrays["score"],
        true=arrays["score_true"],
        particles=arrays["particles"],
        particle_steps=arrays["particle_steps"],
        mode_weights=arrays["mode_weights"],
        mode_weights_control=arrays["mode_weights_control"],
    )


def _conditional(arrays: Mapping[str, Array]) -> Conditional:
    return Conditional(
        seen=float(arrays["conditional_seen"]),
        axis=arrays["conditional_axis"],
        true=arrays["conditional_true"],
        mean=float(np.squeeze(arrays["conditional_mean"])),
        point=float(np.squeeze(arrays["conditional_point"])),
        density=arrays.get("conditional_density"),
    )
