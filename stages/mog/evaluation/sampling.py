"""Samples of a learned score, and of the same sampler with the analytic score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.config.mixture import MixtureParams
from stages.metrics import sampling
from stages.metrics.summary import over_seeds
from stages.mog.evaluation.langevin import Region, annealed_langevin, langevin
from stages.mog.evaluation.model import Array, EvaluatedModel, apply
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.method import HasNoiseSchedule
from stages.nn.schedule import log_spaced
from stages.pipeline import seeding

KEPT = 2000
"""Samples of an annealed run that are kept in the fields."""
COMPARED = 2000
"""Samples that are compared with exact ones pair by pair."""
PROJECTIONS = 64
"""Directions of the sliced Wasserstein distance."""
Score = Callable[[Array, float], Array]
"""From points (S, N, 2) and σ to ∇ log p_σ at these points."""


class Sampler:
    """Annealed Langevin dynamics for a method with a noise schedule, else Langevin dynamics at the method's σ.

    The control is the same sampler with the analytic score, the same start and the same noise: its error is the sampler's and
    not the method's.
    """

    def __init__(self, model: EvaluatedModel) -> None:
        self.model = model
        trained, langevin_params, annealed = model.trained, model.protocol.langevin, model.protocol.annealed
        if isinstance(trained, HasNoiseSchedule):
            self.name, self.sigmas, self.particles = "annealed", list(trained.sigmas), annealed.particles
            total = annealed.steps * len(self.sigmas)
            self.snapshots = np.linspace(0, total, min(annealed.frames, total + 1)).round().astype(int).tolist()
        else:
            self.name, self.sigmas, self.particles = "langevin", [trained.sigma], langevin_params.particles
            self.snapshots = log_spaced(langevin_params.steps, langevin_params.frames)
        self.densities = {sigma: model.mixture.smoothed(sigma) for sigma in self.sigmas}
        self.region = region(model.described, max(self.sigmas))

    def learned(self) -> tuple[Array, Array]:
        """Samples (S, N, 2) of the learned score, and snapshots of the first seed's particles (F, N, 2)."""
        trained = self.model.trained

        def score(x: Array, sigma: float) -> Array:
            at = (lambda points: trained.score_at(points, sigma)) if isinstance(trained, HasNoiseSchedule) else trained.score
            return apply(at, x, self.model.device)

        samples, walk = self._run(score, self.snapshots)
        return samples, walk[:, 0, :KEPT]

    def control(self) -> Array:
        """Samples (S, N, 2) of the analytic score."""
        samples, _ = self._run(lambda x, sigma: self.densities[sigma].score(x), [])
        return samples

    def _run(self, score: Score, snapshots: list[int]) -> tuple[Array, Array]:
        described, protocol, seeds = self.model.described, self.model.protocol, self.model.seeds
        rng = self._generator("mog.langevin")
        start = setup.uniform_in_box(described, seeds * self.particles, rng).reshape(seeds, self.particles, 2)
        shared: dict[str, Any] = {"snapshots": snapshots, "region": self.region, "rng": rng}
        if self.name == "annealed":
            settings = protocol.annealed
            shared |= {"sigmas": self.sigmas, "step_ratio": settings.step_ratio, "steps": settings.steps}
            return annealed_langevin(score, start, **shared)
        (sigma,) = self.sigmas
        shared |= {"step_size": protocol.langevin.step_size, "steps": protocol.langevin.steps}
        return langevin(lambda x: score(x, sigma), start, **shared)

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seeding.stream(self.model.protocol, name))

    def _sigmas_of_snapshots(self) -> Array:
        """The noise level at which each recorded step was taken, (F,); the first for the start."""
        level = self.model.protocol.annealed.steps if self.name == "annealed" else self.model.protocol.langevin.steps
        return np.array([self.sigmas[max(step - 1, 0) // level] for step in self.snapshots])

    def evaluate(self, samples: Array, walk: Array, control: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metrics of the samples and of the control against the density at the last σ, and the fields.

        "exact" has the same metrics of equally many exact samples: their values are the sampling error.
        """
        density = self.densities[self.sigmas[-1]]
        drawn, _ = density.sample(samples.shape[0] * samples.shape[1], self._generator("mog.drawn"))
        compared = {self.name: samples, f"control_{self.name}": control, "exact": drawn.reshape(samples.shape)}
        comparison = Comparison(density, self.region, samples.shape[1], self._generator("mog.exact"))
        metrics = {name: comparison.metrics(x) for name, x in compared.items()}
        fields = {
            "samples": samples[:, :KEPT],
            "particles": walk,
            "particle_steps": np.array(self.snapshots),
            "particle_sigmas": self._sigmas_of_snapshots(),
            "mode_weights": mode_weights(density, samples, self.region),
            "mode_weights_control": mode_weights(density, control, self.region),
        }
        return metrics, fields


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
        self.directions = sampling.unit_directions(PROJECTIONS)

    def metrics(self, samples: Array) -> dict[str, Any]:
        """Metrics of samples (S, N, 2).

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
    """The share of the samples (S, N, 2) in each mode, (S, K); samples outside the region are in no mode.

    Args:
        density: defines the modes.
        samples: (S, N, 2).
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
