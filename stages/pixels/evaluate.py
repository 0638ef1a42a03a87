"""Stage pixels_evaluate@METHOD: measure a score-based method on images against the truth of the mixture, and on the images.

Writes reports/metrics/pixels/METHOD.json and reports/fields/pixels/METHOD.npz. Metrics on the mixture, in d = 784 dimensions:

- `mixture.score.per_sigma`: the relative Fisher divergence E ‖s_θ − s‖² / E ‖s‖² on new points of p_σ, 1 for a zero score; and
  `normal_per_sigma`, that of the best score without modes, of the normal density with the mixture's moments;
- `mixture.likelihood` of a flow: `kl`, the divergence KL(p ‖ q) in nats, with its standard error, and `kl_per_pixel`;
- `mixture.samples`: `mode_weight_tv`, the total variation between the mean posterior probabilities of the modes and their
  weights; `log_density_gap`, mean log p of true minus that of generated samples, in nats; `frechet_distance`; and `exact`, the
  same of equally many exact samples: the sampling error.

On the images: `frechet_distance`, `precision` and `recall` in the embedding of the first method of `mnist.methods`, and
`distance_to_training`, the mean distance to the nearest training image divided by that of test images: far below 1, images are
memorised. `test` and `mixture` are the same metrics of test images and of samples of the mixture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.params import Params
from stages.metrics.sampling import mode_weight_tv
from stages.metrics.score_error import relative_error
from stages.metrics.summary import over_seeds
from stages.mnist.encoder import models
from stages.mnist.encoder.embed import embed, for_knn
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.method import HasFlow
from stages.pipeline import artifacts, files, runner, seeding
from stages.pixels.evaluation.image_quality import distance_to_nearest, frechet_distance, precision_and_recall
from stages.pixels.evaluation.sampling import estimated_log_likelihood, last_sigma, sample, score_at, sigmas_of
from stages.pixels.networks.build import trained
from stages.pixels.problem import mixture as problem
from stages.pixels.problem.paths import fields, metrics, shape_of

Array = NDArray[np.float64]
SHOWN = 24
"""Samples in the fields."""
SHOWN_ON_THE_WAY = 25
"""Images on the way from noise in the fields."""


def main(params: Params, name: str) -> None:
    """Measure the method called `name`."""
    seeding.set_up_torch(params.threads)
    device = seeding.device(params)
    train, test = (files.read_arrays(artifacts.data("mnist", part))["images"] for part in ("train", "test"))
    train = train[: len(train) - params.mnist.validation_images]
    truth = problem.read()
    evaluation = Evaluation(params, truth, train, test, device)
    measured: dict[str, Any] = {}
    stored: dict[str, Array] = {}
    for data, evaluate in (("mixture", evaluation.on_mixture), ("images", evaluation.on_images)):
        method = trained(params, name, data, shape_of(train)).to(device)
        measured[data], found = evaluate(method)
        stored |= {f"{data}_{key}": value for key, value in found.items()}
    files.write_json(metrics(name), measured)
    files.write_arrays(fields(name), stored)


class Evaluation:
    """What the evaluation of all methods shares: the same points, noise and starts.

    Args:
        params: all of params.yaml.
        truth: the mixture.
        train: training images, bytes (N, H, W).
        test: test images, bytes (M, H, W).
        device: of the methods.
    """

    def __init__(
        self, params: Params, truth: Mixture, train: NDArray[np.uint8], test: NDArray[np.uint8], device: torch.device
    ) -> None:
        self.params, self.pixels, self.truth, self.device = params, params.pixels, truth, device
        self.shape = train.shape[1:]
        self.dim = int(np.prod(self.shape))
        self.training = torch.from_numpy(problem.values(train)).float()
        self.test = problem.values(test)
        self.encoder = models.trained(params, params.mnist.methods[0]).to(device)

    def rng(self, name: str) -> np.random.Generator:
        """The random numbers of a purpose, the same for all methods."""
        return np.random.default_rng(seeding.stream(self.params, f"pixels.{name}"))

    def on_mixture(self, method: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        """Metrics and fields of a method that was trained on samples of the mixture."""
        learned, normal = self._score_errors(method)
        measured: dict[str, Any] = {"score": {"per_sigma": learned, "normal_per_sigma": normal}}
        if isinstance(method, HasFlow):
            measured["likelihood"] = self._likelihood(method)
        samples, walk, levels = sample(method, self.pixels, self.dim, self.rng("start"), self.device)
        exact = problem.sample(self.truth.smoothed(last_sigma(method)), len(samples), self.rng("exact"))
        other = problem.sample(self.truth.smoothed(last_sigma(method)), len(samples), self.rng("other"))
        weights = {key: self._mode_weights(method, x) for key, x in (("generated", samples), ("exact", other))}
        measured["samples"] = self._against_truth(method, samples, exact) | {"exact": self._against_truth(method, other, exact)}
        return measured, {
            "samples": samples[:SHOWN],
            "exact": exact[:SHOWN],
            "walk": walk[:, :SHOWN_ON_THE_WAY].astype(np.float32),
            "levels": levels,
            "mode_weights": weights["generated"],
            "true_weights": self.truth.weights,
            "sigmas": np.array(sigmas_of(method)),
            "errors": np.array([one["mean"] for one in learned.values()]),
            "normal_errors": np.array([one["mean"] for one in normal.values()]),
        }

    def _score_errors(self, method: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        clean = problem.sample(self.truth, self.pixels.test_points, self.rng("points"))
        noise = self.rng("noise").standard_normal(clean.shape)
        mean, covariance = self.truth.moments()
        learned: dict[str, Any] = {}
        normal: dict[str, Any] = {}
        for sigma in sigmas_of(method):
            x = clean + sigma * noise
            true = self.truth.smoothed(sigma).score(x)
            learned[f"{sigma:.6g}"] = over_seeds(relative_error(score_at(method, sigma, self.device)(x), true))
            linear = np.linalg.solve(covariance + sigma**2 * np.eye(self.dim), (mean - x).T).T
            normal[f"{sigma:.6g}"] = over_seeds(relative_error(np.asarray(linear, dtype=np.float64), true))
        return learned, normal

    def _likelihood(self, method: Any) -> dict[str, Any]:
        density = self.truth.smoothed(last_sigma(method))
        x = problem.sample(density, self.pixels.likelihood_points, self.rng("likelihood"))
        learned = estimated_log_likelihood(method, x * method.path(method.end)[0], self.rng("signs"), self.device)
        difference = density.log_density(x) - learned
        return {
            "kl": over_seeds(difference.mean()),
            "kl_standard_error": over_seeds(difference.std(ddof=1) / np.sqrt(len(x))),
            "kl_per_pixel": over_seeds(difference.mean() / self.dim),
        }

    def _mode_weights(self, method: Any, samples: Array) -> Array:
        return np.asarray(self.truth.smoothed(last_sigma(method)).responsibilities(samples).mean(0))

    def _against_truth(self, method: Any, samples: Array, exact: Array) -> dict[str, Any]:
        density = self.truth.smoothed(last_sigma(method))
        return {
            "mode_weight_tv": over_seeds(mode_weight_tv(self._mode_weights(method, samples), density.weights)),
            "log_density_gap": over_seeds(density.log_density(exact).mean() - density.log_density(samples).mean()),
            "frechet_distance": over_seeds(frechet_distance(self._embedded(exact), self._embedded(samples))),
        }

    def on_images(self, method: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        """Metrics and fields of a method that was trained on the images."""
        samples, walk, levels = sample(method, self.pixels, self.dim, self.rng("start"), self.device)
        order = self.rng("test").permutation(len(self.test))
        real, other = (self.test[order[i * len(samples) : (i + 1) * len(samples)]] for i in (0, 1))
        of_mixture = problem.sample(self.truth, len(samples), self.rng("exact"))
        measured: dict[str, Any] = self._against_images(samples, real)
        measured |= {"test": self._against_images(other, real), "mixture": self._against_images(of_mixture, real)}
        return measured, {
            "samples": samples[:SHOWN],
            "test": real[:SHOWN],
            "walk": walk[:, :SHOWN_ON_THE_WAY].astype(np.float32),
            "levels": levels,
        }

    def _against_images(self, samples: Array, real: Array) -> dict[str, Any]:
        precision, recall = precision_and_recall(self._embedded(real), self._embedded(samples))
        distances = [distance_to_nearest(x.clip(-1, 1), self.training).mean() for x in (samples, self.test)]
        return {
            "frechet_distance": over_seeds(frechet_distance(self._embedded(real), self._embedded(samples))),
            "precision": over_seeds(precision),
            "recall": over_seeds(recall),
            "distance_to_training": over_seeds(distances[0] / distances[1]),
        }

    def _embedded(self, x: Array) -> Array:
        """Embeddings (N, D) of vectors (N, d), which are first rounded to bytes."""
        images = torch.from_numpy(problem.images(x, self.shape))
        return np.asarray(for_knn(self.encoder, embed(self.encoder, images, self.device)).double().numpy())


if __name__ == "__main__":
    runner.run(main)
