"""What is measured of a method that knows a score: its error, its energy, and the samples that it leads to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from stages import runtime
from stages.metrics import score_error
from stages.mog import measure, setting
from stages.mog.langevin import Region, annealed_langevin, langevin
from stages.mog.mixture import Mixture
from stages.mog.subject import CHUNK, Array, Subject, apply, values
from stages.nn.draws import FixedDraws
from stages.nn.method import Anneals, Energises
from stages.nn.moments import log_spaced
from stages.schema import Mog

KEPT = 2000
"""Samples of an annealed run that are kept in the fields."""


def score(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and fields of a score method, and its samples beside those that the analytic score gives."""
    density = subject.mixture.smoothed(subject.trained.sigma)

    def learned(x: Array) -> Array:
        return apply(subject.trained.score, x, subject.device)

    arrows, true = learned(subject.nodes), density.score(subject.nodes)
    energy = _energy(subject, subject.trained)
    metrics: dict[str, Any] = {
        "score": {
            **measure.score(density, learned, subject.params.mog.score_points, subject.rng),
            **measure.energy(density, energy, subject.grid_x, subject.grid_y),
            **measure.directions(density, arrows, true, subject.nodes),
        },
    }
    if subject.trained.denoises:
        draws, rng = subject.params.mog.denoising_draws, np.random.default_rng(runtime.stream(subject.params, "mog.denoising"))
        loss = partial(_denoising_loss, subject)
        metrics["denoising"] = measure.denoising(subject.mixture, subject.trained.sigma, loss, learned, draws, rng)
    fields = {
        "energy": energy,
        "log_density": subject.on_grid(density.log_density(subject.nodes)),
        "score": subject.on_grid(arrows, 2),
        "score_true": subject.on_grid(true, 2),
        "snapshot_energy": _energy(subject, subject.snapshots),
    }
    sampled = _anneal if isinstance(subject.trained, Anneals) else _langevin
    figures, arrays = sampled(subject)
    if isinstance(subject.trained, Anneals):
        metrics["score"]["per_sigma"] = _per_sigma(subject)
    return metrics | {"sampling": figures}, fields | arrays


def _denoising_loss(subject: Subject, x: Array, noise: Array) -> Array:
    """The method's own loss on given points and noise (N, 2), (S,)."""
    points, noises = (torch.from_numpy(a.astype(np.float32)).to(subject.device) for a in (x, noise))
    sums = np.zeros(subject.params.seeds)
    with torch.no_grad():
        for part, drawn in zip(points.split(CHUNK), noises.split(CHUNK), strict=True):
            losses = subject.trained.loss(
                part.expand(subject.params.seeds, -1, -1), FixedDraws(drawn[None], torch.ones_like(drawn))
            )
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

        error = measure.score(subject.mixture.smoothed(sigma), learned, subject.params.mog.score_points, subject.rng)
        figures[f"{sigma:.6g}"] = error["relative_fisher_error"]
    return figures


def _langevin(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Langevin dynamics at the method's noise level, by the learned score and by the analytic one."""
    density = subject.mixture.smoothed(subject.trained.sigma)
    settings = subject.params.langevin
    moments = log_spaced(settings.steps, settings.frames)

    def walk(score: Callable[[Array], Array], moments: list[int]) -> tuple[Array, Array]:
        start, rng = _start(subject, settings.particles)
        return langevin(
            score,
            start,
            step_size=settings.step_size,
            steps=settings.steps,
            moments=moments,
            region=region(subject.params.mog, subject.trained.sigma),
            rng=rng,
        )

    samples, particles = walk(lambda x: apply(subject.trained.score, x, subject.device), moments)
    control, _ = walk(density.score, [])
    return _measured(subject, "langevin", density, subject.trained.sigma, samples, control, particles[:, 0], moments)


def _measured(
    subject: Subject,
    name: str,
    density: Mixture,
    sigma: float,
    samples: Array,
    control: Array,
    particles: Array,
    moments: list[int],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How samples and those of the analytic score compare with the density at σ; and what is drawn of them."""
    where = region(subject.params.mog, sigma)
    made = {name: samples, f"control_{name}": control}
    quality = {
        key: measure.sample_quality(density, x, where, np.random.default_rng(runtime.stream(subject.params, "mog.exact")))
        for key, x in made.items()
    }
    arrays = {"samples": samples[:, :KEPT], "particles": particles[:, :KEPT], "particle_steps": np.array(moments)}
    weights = {
        f"mode_weights{end}": measure.mode_weights(density, x, where) for end, x in (("", samples), ("_control", control))
    }
    return quality, arrays | weights


def _anneal(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Annealed Langevin dynamics down the method's ladder, by the learned scores and by the analytic ones."""
    settings, sigmas = subject.params.annealed, subject.trained.sigmas
    densities = {sigma: subject.mixture.smoothed(sigma) for sigma in sigmas}
    total = settings.steps * len(sigmas)
    moments = np.linspace(0, total, min(settings.frames, total + 1)).round().astype(int).tolist()

    def walk(score: Callable[[Array, float], Array], moments: list[int]) -> tuple[Array, Array]:
        start, rng = _start(subject, settings.particles)
        return annealed_langevin(
            score,
            start,
            sigmas=sigmas,
            step_ratio=settings.step_ratio,
            steps=settings.steps,
            moments=moments,
            region=region(subject.params.mog, max(sigmas)),
            rng=rng,
        )

    samples, particles = walk(lambda x, s: apply(lambda p: subject.trained.score_at(p, s), x, subject.device), moments)
    control, _ = walk(lambda x, s: densities[s].score(x), [])
    last = sigmas[-1]
    return _measured(subject, "annealed", densities[last], last, samples, control, particles[:, 0], moments)


def region(mog: Mog, sigma: float) -> Region:
    """Where a sampler's particles move at noise level σ: the box with its own size and 6 σ around it on each side.

    Noise alone takes a particle of the smoothed density further than 6 σ once in 10⁸ times: what leaves was driven out.
    """
    low, high = np.array(setting.box(mog)).T
    margin = high - low + 6 * sigma
    return Region(low - margin, high + margin)


def _start(subject: Subject, count: int) -> tuple[Array, np.random.Generator]:
    """Particles (S, count, 2) uniform in the box, and the generator of their noise: the same for every score."""
    rng = np.random.default_rng(runtime.stream(subject.params, "mog.langevin"))
    start = setting.uniform_in_box(subject.params.mog, subject.params.seeds * count, rng)
    return start.reshape(subject.params.seeds, count, 2), rng
