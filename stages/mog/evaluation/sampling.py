"""Samples of a learned score or velocity, and of the same sampler with the analytic one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.mixture import MixtureParams
from stages.metrics import sampling
from stages.metrics.summary import over_seeds
from stages.mog.evaluation import flows
from stages.mog.evaluation.langevin import Region, annealed_langevin, langevin
from stages.mog.evaluation.model import Array, EvaluatedModel, apply
from stages.mog.problem import path, setup
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.method import HasFlow, HasNoiseSchedule
from stages.nn.schedule import geometric, log_spaced
from stages.pipeline import seeding

KEPT = 2000
"""Samples of an annealed run that are kept in the fields."""
COMPARED = 2000
"""Samples that are compared with exact ones pair by pair."""
PROJECTIONS = 64
"""Directions of the sliced Wasserstein distance."""
Score = Callable[[Array, float], Array]
"""From points (S, N, d) and σ to ∇ log p_σ at these points."""


class Sampler(ABC):
    """Samples of a method, and of the same sampler with the analytic score or velocity.

    The control has the same start and the same noise: its error is the sampler's and not the method's.

    Args:
        model: the evaluated model.
        name: of the sampler, in the metrics.
        density: the density that the sampler targets.
        particles: samples per seed.
        widest: the largest noise level of the particles; those far outside the box have escaped.
    """

    def __init__(self, model: EvaluatedModel, *, name: str, density: Mixture, particles: int, widest: float) -> None:
        self.model, self.name, self.density, self.particles = model, name, density, particles
        self.region = region(model.described, widest)

    @abstractmethod
    def learned(self) -> tuple[Array, Array]:
        """Samples (S, N, d) of the method, and snapshots of the first seed's particles (F, N, d)."""

    @abstractmethod
    def control(self) -> Array:
        """Samples (S, N, d) of the analytic score or velocity."""

    @abstractmethod
    def recorded(self) -> tuple[list[int], Array]:
        """Steps of the snapshots and their noise levels, (F,) each."""

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seeding.stream(self.model.protocol, name))

    def evaluate(self, samples: Array, walk: Array, control: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metrics of the samples and of the control against the target, and the fields.

        "exact" has the same metrics of equally many exact samples: their values are the sampling error.
        """
        density, (steps, sigmas) = self.density, self.recorded()
        drawn, _ = density.sample(samples.shape[0] * samples.shape[1], self._generator("mog.drawn"))
        compared = {self.name: samples, f"control_{self.name}": control, "exact": drawn.reshape(samples.shape)}
        comparison = Comparison(density, self.region, samples.shape[1], self._generator("mog.exact"))
        metrics = {name: comparison.metrics(x) for name, x in compared.items()}
        fields = {
            "samples": samples[:, :KEPT],
            "particles": walk,
            "particle_steps": np.array(steps),
            "particle_sigmas": sigmas,
            "mode_weights": mode_weights(density, samples, self.region),
            "mode_weights_control": mode_weights(density, control, self.region),
        }
        return metrics, fields


class LangevinSampler(Sampler):
    """Annealed Langevin dynamics for a method with a noise schedule, else Langevin dynamics at the method's σ."""

    def __init__(self, model: EvaluatedModel) -> None:
        trained, protocol = model.trained, model.protocol
        self.annealed = isinstance(trained, HasNoiseSchedule)
        self.sigmas = list(trained.sigmas) if self.annealed else [trained.sigma]
        self.settings: Any = protocol.annealed if self.annealed else protocol.langevin
        if self.annealed:
            total = self.settings.steps * len(self.sigmas)
            self.snapshots = np.linspace(0, total, min(self.settings.frames, total + 1)).round().astype(int).tolist()
        else:
            self.snapshots = log_spaced(self.settings.steps, self.settings.frames)
        self.densities = {sigma: model.mixture.smoothed(sigma) for sigma in self.sigmas}
        super().__init__(
            model,
            name="annealed" if self.annealed else "langevin",
            density=self.densities[self.sigmas[-1]],
            particles=self.settings.particles,
            widest=max(self.sigmas),
        )

    def learned(self) -> tuple[Array, Array]:
        """Samples (S, N, d) of the learned score, and snapshots of the first seed's particles (F, N, d)."""
        trained = self.model.trained

        def score(x: Array, sigma: float) -> Array:
            at = (lambda points: trained.score_at(points, sigma)) if self.annealed else trained.score
            return apply(at, x, self.model.device)

        samples, walk = self._run(score, self.snapshots)
        return samples, walk[:, 0, :KEPT]

    def control(self) -> Array:
        """Samples (S, N, d) of the analytic score."""
        samples, _ = self._run(lambda x, sigma: self.densities[sigma].score(x), [])
        return samples

    def recorded(self) -> tuple[list[int], Array]:
        """The steps of the snapshots, and the noise level at which each was taken; the first level for the start."""
        return self.snapshots, np.array([self.sigmas[max(step - 1, 0) // self.settings.steps] for step in self.snapshots])

    def _run(self, score: Score, snapshots: list[int]) -> tuple[Array, Array]:
        described, settings, seeds = self.model.described, self.settings, self.model.seeds
        rng = self._generator("mog.langevin")
        start = setup.uniform_in_box(described, seeds * self.particles, rng).reshape(seeds, self.particles, -1)
        shared: dict[str, Any] = {"snapshots": snapshots, "region": self.region, "rng": rng}
        if self.annealed:
            shared |= {"sigmas": self.sigmas, "step_ratio": settings.step_ratio, "steps": settings.steps}
            return annealed_langevin(score, start, **shared)
        (sigma,) = self.sigmas
        shared |= {"step_size": settings.step_size, "steps": settings.steps}
        return langevin(lambda x: score(x, sigma), start, **shared)


class FlowSampler(Sampler):
    """The ordinary differential equation of a flow, from normal noise to the data.

    The snapshots are x_t / a(t), samples of p_σ at log-spaced noise levels σ = b/a.
    """

    def __init__(self, model: EvaluatedModel) -> None:
        self.flow, annealed = model.trained, model.protocol.annealed
        first, last = self.flow.sigmas[0], self.flow.sigmas[-1]
        self.sigmas = geometric(first, last, annealed.frames if last < first else 1)
        density = path.density(model.mixture, self.flow.path(self.flow.end))
        super().__init__(model, name="flow", density=density, particles=annealed.particles, widest=0.0)

    def learned(self) -> tuple[Array, Array]:
        """Samples (S, N, d) of the learned velocity, and snapshots of the first seed's particles (F, N, d)."""

        def velocity(x: Array, t: float) -> Array:
            return apply(lambda points: self.flow.velocity(points, t), x, self.model.device)

        times = [self.flow.time_of(sigma) for sigma in self.sigmas]
        found = self._run(velocity, times)
        scale = np.array([self.flow.path(t)[0] for t in times])[:, None, None]
        return found[-1], found[1 : 1 + len(times), 0, :KEPT] / scale

    def control(self) -> Array:
        """Samples (S, N, d) of the analytic velocity."""
        mixture = self.model.mixture
        return self._run(lambda x, t: path.velocity(mixture, self.flow.path(t), x), [])[-1]

    def recorded(self) -> tuple[list[int], Array]:
        """The numbers of the snapshots and their noise levels."""
        return list(range(len(self.sigmas))), np.array(self.sigmas)

    def _run(self, velocity: Callable[[Array, float], Array], times: list[float]) -> Array:
        _, std, _, _ = self.flow.path(self.flow.start)
        shape = (self.model.seeds, self.particles, self.density.means.shape[1])
        start = std * self._generator("mog.langevin").standard_normal(shape)
        last = [] if times and np.isclose(times[-1], self.flow.end) else [self.flow.end]
        return flows.transported(velocity, start, np.array([self.flow.start, *times, *last]))


def sampler(model: EvaluatedModel) -> Sampler:
    """The sampler of a method: its flow if it has one, else Langevin dynamics."""
    return FlowSampler(model) if isinstance(model.trained, HasFlow) else LangevinSampler(model)


def region(described: MixtureParams, sigma: float) -> Region:
    """The region of the particles at noise level σ: the box, extended on each side by its own size and 6σ.

    A particle of the smoothed density leaves it by noise alone with a probability below 10⁻⁸; those that leave diverge.
    """
    low, high = np.array(setup.box(described)).T
    margin = high - low + 6 * sigma
    return Region(low - margin, high + margin)


class Comparison:
    """Metrics of samples against a density and exact samples of it.

    Args:
        density: the target.
        inside: samples outside this region have escaped.
        count: samples per seed; at most `COMPARED` are compared pair by pair.
        rng: generator of the exact samples.
    """

    def __init__(self, density: Mixture, inside: Region, count: int, rng: np.random.Generator) -> None:
        self.density, self.region = density, inside
        self.exact, _ = density.sample(min(count, COMPARED), rng)
        self.within = sampling.within_distance(self.exact)
        self.modes = _whitened_by_mode(density, self.exact)
        self.within_modes = [sampling.within_distance(mode) if len(mode) > 1 else 0.0 for mode in self.modes]
        self.directions = sampling.unit_directions(PROJECTIONS, density.means.shape[1])

    def metrics(self, samples: Array) -> dict[str, Any]:
        """Metrics of samples (S, N, d).

        `escaped` is the fraction outside the region. `mode_discrepancy` is the total variation of the mode weights plus the
        error within the modes (`error_within_modes`): the fraction of samples in the wrong mode, and the distance of the
        others from the exact distribution within their modes. With one mode there is no `mode_weight_tv`.
        """
        inside = self.region.holds(samples)
        found = mode_weights(self.density, samples, self.region, inside)
        missed = [sampling.mode_weight_tv(weights, self.density.weights) for weights in found]
        few = samples[:, : len(self.exact)]
        held = (one[kept[: len(one)]] for one, kept in zip(few, inside, strict=True))
        shapes = [self.error_within_modes(one, weights) for one, weights in zip(held, found, strict=True)]
        return {
            **({"mode_weight_tv": over_seeds(missed)} if len(self.density.weights) > 1 else {}),
            "mode_discrepancy": over_seeds(np.add(missed, shapes)),
            "escaped": over_seeds(1 - inside.mean(-1)),
            "energy_distance": over_seeds([sampling.energy_distance(one, self.exact, self.within) for one in few]),
            "sliced_wasserstein": over_seeds([sampling.sliced_wasserstein(one, self.exact, self.directions) for one in few]),
        }

    def error_within_modes(self, samples: Array, weights: Array) -> float:
        """The error of the distribution of samples (N, 2) within the modes, from 0 to 1.

            Σ_k min(ŵ_k, w_k) H_k

        H_k is the energy coefficient between the samples and the exact samples that most probably come from mode k, whitened by
        the mode's mean and covariance. Wrong mode weights ŵ (K,) do not contribute.
        """
        error = 0.0
        for k, own in enumerate(_whitened_by_mode(self.density, samples)):
            if min(len(own), len(self.modes[k])) > 1:
                distance = sampling.energy_coefficient(own, self.modes[k], self.within_modes[k])
                error += min(weights[k], self.density.weights[k]) * distance
        return error


def mode_weights(density: Mixture, samples: Array, inside: Region, held: NDArray[np.bool_] | None = None) -> Array:
    """The share of the samples (S, N, d) in each mode, (S, K); samples outside the region are in no mode.

    Args:
        density: defines the modes.
        samples: (S, N, d).
        inside: the region.
        held: which samples are inside, (S, N), if that is known.
    """
    held = inside.holds(samples) if held is None else held
    return np.asarray((density.responsibilities(samples) * held[..., None]).mean(1))


def _whitened_by_mode(density: Mixture, points: Array) -> list[Array]:
    """The points (N, 2) that most probably come from each mode, whitened: L⁻¹ (x − μ) with C = L Lᵀ."""
    label = density.responsibilities(points).argmax(-1)
    terms = enumerate(zip(density.means, density.whitening, strict=True))
    return [(points[label == k] - mean) @ whitening.T for k, (mean, whitening) in terms]
