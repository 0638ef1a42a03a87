"""Sampling with a learned score, beside the same sampler with the analytic one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stages.config.mixture import MixtureParams
from stages.mog.evaluation import measure
from stages.mog.evaluation.langevin import Region, annealed_langevin, langevin
from stages.mog.evaluation.model import Array, Subject, apply
from stages.mog.problem import setup
from stages.nn.method import Anneals
from stages.nn.schedule import log_spaced
from stages.pipeline import seeding

KEPT = 2000
"""Samples of an annealed run that are kept in the fields."""
Score = Callable[[Array, float], Array]
"""From points (S, N, 2) and σ to ∇ log p_σ there."""


class Sampler:
    """The sampler that suits a method: annealed Langevin dynamics where it knows several noise levels, else at its own one.

    The control is the same sampler, from the same start and with the same noise, by the analytic score: what it misses is the
    sampler's error and not the method's.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        trained, langevin_params, annealed = subject.trained, subject.protocol.langevin, subject.protocol.annealed
        if isinstance(trained, Anneals):
            self.name, self.sigmas, self.particles = "annealed", list(trained.sigmas), annealed.particles
            total = annealed.steps * len(self.sigmas)
            self.moments = np.linspace(0, total, min(annealed.frames, total + 1)).round().astype(int).tolist()
        else:
            self.name, self.sigmas, self.particles = "langevin", [trained.sigma], langevin_params.particles
            self.moments = log_spaced(langevin_params.steps, langevin_params.frames)
        self.densities = {sigma: subject.mixture.smoothed(sigma) for sigma in self.sigmas}
        self.region = region(subject.described, max(self.sigmas))

    def learned(self) -> tuple[Array, Array]:
        """The samples (S, N, 2) by the learned score, and the first seed's walk (F, N, 2)."""
        trained = self.subject.trained

        def score(x: Array, sigma: float) -> Array:
            at = (lambda points: trained.score_at(points, sigma)) if isinstance(trained, Anneals) else trained.score
            return apply(at, x, self.subject.device)

        samples, walk = self._walk(score, self.moments)
        return samples, walk[:, 0, :KEPT]

    def control(self) -> Array:
        """The samples (S, N, 2) by the analytic score."""
        samples, _ = self._walk(lambda x, sigma: self.densities[sigma].score(x), [])
        return samples

    def _walk(self, score: Score, moments: list[int]) -> tuple[Array, Array]:
        described, protocol, seeds = self.subject.described, self.subject.protocol, self.subject.seeds
        rng = self._generator("mog.langevin")
        start = setup.uniform_in_box(described, seeds * self.particles, rng).reshape(seeds, self.particles, 2)
        shared: dict[str, Any] = {"moments": moments, "region": self.region, "rng": rng}
        if self.name == "annealed":
            settings = protocol.annealed
            shared |= {"sigmas": self.sigmas, "step_ratio": settings.step_ratio, "steps": settings.steps}
            return annealed_langevin(score, start, **shared)
        (sigma,) = self.sigmas
        shared |= {"step_size": protocol.langevin.step_size, "steps": protocol.langevin.steps}
        return langevin(lambda x: score(x, sigma), start, **shared)

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seeding.stream(self.subject.protocol, name))

    def measured(self, samples: Array, walk: Array, control: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """How samples and those of the analytic score compare with the density at the last σ; and what is drawn of them.

        Also how as many exact samples compare, "exact": by so much each figure is off by chance.
        """
        last = self.sigmas[-1]
        density, where = self.densities[last], self.region
        drawn, _ = density.sample(samples.shape[0] * samples.shape[1], self._generator("mog.drawn"))
        compared = {self.name: samples, f"control_{self.name}": control, "exact": drawn.reshape(samples.shape)}
        quality = {key: measure.sample_quality(density, x, where, self._generator("mog.exact")) for key, x in compared.items()}
        arrays = {
            "samples": samples[:, :KEPT],
            "particles": walk,
            "particle_steps": np.array(self.moments),
            "mode_weights": measure.mode_weights(density, samples, where),
            "mode_weights_control": measure.mode_weights(density, control, where),
        }
        return quality, arrays


def region(described: MixtureParams, sigma: float) -> Region:
    """Where a sampler's particles move at noise level σ: the box with its own size and 6 σ around it on each side.

    Noise alone takes a particle of the smoothed density further than 6 σ once in 10⁸ times: what leaves was driven out.
    """
    low, high = np.array(setup.box(described)).T
    margin = high - low + 6 * sigma
    return Region(low - margin, high + margin)
