"""What is measured of a method that knows a score: its error, its energy, and the samples that it leads to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from stages.metrics import score_error
from stages.mog.evaluation import measure
from stages.mog.evaluation.model import Array, Subject, apply, values
from stages.mog.evaluation.sampling import Sampler
from stages.nn.method import Anneals, Energises
from stages.nn.noise import FixedDraws
from stages.pipeline import seeding
from stages.pipeline.concurrent import concurrently

DRAWS = 4096
"""Draws of point and noise in one forward pass of a loss."""


def score(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and fields of a score method, and its samples beside those that the analytic score gives."""
    density = subject.mixture.smoothed(subject.trained.sigma)
    sampler = Sampler(subject)

    def learned(x: Array) -> Array:
        return apply(subject.trained.score, x, subject.device)

    (samples, walk), control, denoising, (energy, snapshots) = concurrently(
        sampler.learned,
        sampler.control,
        partial(_denoising, subject, learned),
        lambda: (_energy(subject, subject.trained), _energy(subject, subject.snapshots)),
    )
    arrows, true = learned(subject.nodes), density.score(subject.nodes)
    sampling, sampled = sampler.measured(samples, walk, control)
    metrics: dict[str, Any] = {
        "score": {
            **measure.score(density, learned, subject.protocol.evaluation.score_points, subject.rng),
            **measure.energy(density, energy, subject.grid_x, subject.grid_y),
            **measure.directions(density, arrows, true, subject.nodes),
        },
        **denoising,
        "sampling": sampling,
    }
    if isinstance(subject.trained, Anneals):
        metrics["score"]["per_sigma"] = _per_sigma(subject)
    fields = {
        "energy": energy,
        "log_density": subject.on_grid(density.log_density(subject.nodes)),
        "score": subject.on_grid(arrows, 2),
        "score_true": subject.on_grid(true, 2),
        "snapshot_energy": snapshots,
        **sampled,
    }
    return metrics, fields


def _denoising(subject: Subject, learned: Callable[[Array], Array]) -> dict[str, Any]:
    """By how much the denoising loss exceeds its floor; nothing where the method has no such loss."""
    if not subject.trained.denoises:
        return {}
    rng = np.random.default_rng(seeding.stream(subject.protocol, "mog.denoising"))
    draws, loss = subject.protocol.evaluation.denoising_draws, partial(_denoising_loss, subject)
    return {"denoising": measure.denoising(subject.mixture, subject.trained.sigma, loss, learned, draws, rng)}


def _denoising_loss(subject: Subject, x: Array, noise: Array) -> Array:
    """The method's own loss on given points and noise (N, 2), (S,)."""
    points, noises = (torch.from_numpy(a.astype(np.float32)).to(subject.device) for a in (x, noise))
    sums = np.zeros(subject.seeds)
    with torch.no_grad():
        for part, drawn in zip(points.split(DRAWS), noises.split(DRAWS), strict=True):
            losses = subject.trained.loss(part.expand(subject.seeds, -1, -1), FixedDraws(drawn[None], torch.ones_like(drawn)))
            sums += losses["loss"].cpu().double().numpy() * len(part)
    return sums / len(x)


def _energy(subject: Subject, method: Any) -> Array:
    """The energy on the grid, normalised there: the method's own, else the potential of its score."""
    dx, dy = subject.grid_x[1] - subject.grid_x[0], subject.grid_y[1] - subject.grid_y[0]
    if isinstance(method, Energises):
        energy = values(method.energy, subject.nodes, subject.device)
        return score_error.normalised_energy(subject.on_grid(energy), dx, dy)
    score = subject.on_grid(apply(method.score, subject.nodes, subject.device), 2)
    return score_error.potential(score, dx, dy, method.sigma)


def _per_sigma(subject: Subject) -> dict[str, Any]:
    """The score error on every rung of the ladder."""
    figures = {}
    for sigma in subject.trained.sigmas:

        def learned(x: Array, sigma: float = sigma) -> Array:
            return apply(lambda p: subject.trained.score_at(p, sigma), x, subject.device)

        error = measure.score(subject.mixture.smoothed(sigma), learned, subject.protocol.evaluation.score_points, subject.rng)
        figures[f"{sigma:.6g}"] = error["relative_fisher_error"]
    return figures
