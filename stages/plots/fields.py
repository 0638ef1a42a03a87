"""The fields of a method on the mixture, reports/fields/METHOD.npz, as typed records."""

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

    test: Array
    """Embeddings of the test points (S, N, D)."""
    untrained: Array
    """Embeddings of the test points before training (N, D)."""
    walk: Array
    """Reference path (F, 2)."""
    walk_energy: Array
    """Energy with respect to each point of the reference path (F, H, W)."""
    variance_ratio: Array
    """Total variance divided by its initial value at each snapshot (T,)."""
    normalised_std: Array
    """√D × std of the normalised embeddings at each snapshot (T,)."""

    def collapsed(self, thresholds: Mapping[str, float]) -> bool:
        """Whether the first seed's embedding has collapsed at the end of the training.

        Args:
            thresholds: `variance_ratio` and `normalised_std`, below either of which it has.
        """
        final = {"variance_ratio": self.variance_ratio[-1], "normalised_std": self.normalised_std[-1]}
        return any(bool(value < thresholds[key]) for key, value in final.items())


@dataclass(frozen=True)
class JepaScore:
    """JEPA-SCORE ½ log det JᵀJ of the first seed at the test points (N,) each."""

    log_density: Array
    """log p."""
    trained: Array
    """The score after training."""
    untrained: Array
    """The score before training."""


@dataclass(frozen=True)
class Spectrum:
    """The eigenfunctions of the positive pairs' operator, reports/fields/spectrum.npz."""

    grid_x: Array
    """x of the nodes (W,)."""
    grid_y: Array
    """y of the nodes (H,)."""
    eigenvalues: Array
    """λ_k (K,); K is 0 if the quadrature needs too many nodes."""
    eigenfunctions: Array
    """ψ_k (K, H, W)."""
    log_density: Array
    """That of a view (H, W), in nats."""
    view_noise: Array
    """s (), in units of x."""


@dataclass(frozen=True)
class Score:
    """Fields of a method with a score."""

    sigma: float
    """Noise level of the target density; 0 for the data themselves."""
    learned: Array
    """s_θ on the grid (S, H, W, 2)."""
    true: Array
    """∇ log p_σ on the grid (H, W, 2)."""
    particles: Array
    """Particles of the sampler (F, N, 2)."""
    particle_steps: Array
    """Sampler step of each frame (F,)."""
    particle_sigmas: Array
    """Noise level of each frame (F,)."""
    mode_weights: Array
    """Mode weights of samples drawn with the learned score (S, K)."""
    mode_weights_control: Array
    """Mode weights of samples drawn with the true score (S, K)."""


@dataclass(frozen=True)
class NoiseLevels:
    """Fields of a method with a noise schedule, at each of L noise levels."""

    sigmas: Array
    """σ (L,), decreasing."""
    energy: Array
    """Potential of the learned score (L, H, W), in nats."""
    log_density: Array
    """log p_σ (L, H, W)."""
    learned: Array
    """s_θ (L, H, W, 2)."""
    true: Array
    """∇ log p_σ (L, H, W, 2)."""


@dataclass(frozen=True)
class Critic:
    """Fields of a method with a critic: P pairs of views, each value minus its mean over the pairs with the same first view."""

    true: Array
    """PMI in nats (P,)."""
    learned: Array
    """Critic (P,)."""


@dataclass(frozen=True)
class Conditional:
    """Fields of a method with a predictor: the conditional density of x₀ at one value of x₁."""

    seen: float
    """The value of x₁."""
    axis: Array
    """Values of x₀ (C,)."""
    true: Array
    """True density p(x₀ | x₁) at these values (C,)."""
    mean: float
    """True conditional mean E[x₀ | x₁]."""
    point: float
    """Predicted x₀."""
    density: Array | None
    """Learned density at these values (C,); None for a method without a conditional density."""


@dataclass(frozen=True)
class Fields:
    """All fields of a method."""

    grid_x: Array
    """x of the nodes (W,)."""
    grid_y: Array
    """y of the nodes (H,)."""
    energy: Array
    """Learned energy (S, H, W): in nats for a method with a score, else −cos to the reference point."""
    log_density: Array
    """Analytic log-density on the grid (H, W)."""
    steps: Array
    """Training steps of the snapshots (T,)."""
    snapshot_energy: Array
    """Learned energy of the first seed at each snapshot (T, H, W)."""
    embedding: Embedding | None
    jepa_score: JepaScore | None
    score: Score | None
    levels: NoiseLevels | None
    critic: Critic | None
    conditional: Conditional | None

    def relative(self, energy: Array) -> Array:
        """An energy as it is drawn: in nats above the lowest true energy on the grid, or −cos as it is."""
        return energy + self.log_density.max() if self.score else energy


def parse(arrays: Mapping[str, Array]) -> Fields:
    """The record of the arrays in a fields file."""
    return Fields(
        grid_x=arrays["grid_x"],
        grid_y=arrays["grid_y"],
        energy=arrays["energy"],
        log_density=arrays["log_density"],
        steps=arrays["snapshot_steps"],
        snapshot_energy=arrays["snapshot_energy"],
        embedding=_embedding(arrays) if "embedding" in arrays else None,
        jepa_score=_jepa_score(arrays) if "jepa_score" in arrays else None,
        score=_score(arrays) if "score" in arrays else None,
        levels=_levels(arrays) if "level_sigmas" in arrays else None,
        critic=Critic(arrays["critic_true"], arrays["critic_learned"]) if "critic_true" in arrays else None,
        conditional=_conditional(arrays) if "conditional_axis" in arrays else None,
    )


def _embedding(arrays: Mapping[str, Array]) -> Embedding:
    return Embedding(
        test=arrays["embedding"],
        untrained=arrays["embedding_untrained"],
        walk=arrays["walk"],
        walk_energy=arrays["walk_energy"],
        variance_ratio=arrays["snapshot_variance_ratio"],
        normalised_std=arrays["snapshot_normalised_std"],
    )


def _jepa_score(arrays: Mapping[str, Array]) -> JepaScore:
    return JepaScore(arrays["jepa_score_log_density"], arrays["jepa_score"], arrays["jepa_score_untrained"])


def _score(arrays: Mapping[str, Array]) -> Score:
    return Score(
        sigma=float(arrays["sigma"]),
        learned=arrays["score"],
        true=arrays["score_true"],
        particles=arrays["particles"],
        particle_steps=arrays["particle_steps"],
        particle_sigmas=arrays["particle_sigmas"],
        mode_weights=arrays["mode_weights"],
        mode_weights_control=arrays["mode_weights_control"],
    )


def _levels(arrays: Mapping[str, Array]) -> NoiseLevels:
    return NoiseLevels(
        sigmas=arrays["level_sigmas"],
        energy=arrays["level_energy"],
        log_density=arrays["level_log_density"],
        learned=arrays["level_score"],
        true=arrays["level_score_true"],
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
