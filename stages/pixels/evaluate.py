"""Stage pixels_evaluate@METHOD: measure a score-based method on images against the truth of the mixture, and on the images.

Writes reports/metrics/pixels/METHOD.json and reports/fields/pixels/METHOD.npz. Metrics on the mixture, whose density splits
into the principal components and the noise outside of them (problem/mixture.py):

- `mixture.score.within.per_sigma`: the relative Fisher divergence E ‖s_θ − s‖² / E ‖s‖² of the parts of the scores along the
  principal components, on new points of p_σ: 0 for the true score, 1 for a zero score; `affine_per_sigma` is that of the best
  affine score, which knows no modes; `outside` has the same of the parts outside, where the true score is −r/(ν² + σ²);
- `mixture.likelihood` of a flow: `kl`, the divergence KL(p_σ ‖ q) in nats, its standard error, and `kl_per_pixel`;
- `mixture.samples`: `mode_weight_tv`, the total variation between the mean posterior probabilities of the modes, at the noise
  level `SEEN`, and their weights; `log_density_gap`, mean log p_σ of true minus that of generated samples, in nats; and
  `frechet_distance`. `true_score` has the same of the same sampler with the analytic score: what exceeds it is the error of the
  method. `exact` has the same of equally many exact samples: the sampling error.

`sigma` is the noise level of the samples, the smallest one of the method. On the images they are denoised once, by Tweedie's
formula, and measured by `frechet_distance`, `precision` and `recall` in the embedding of the first method of `mnist.methods`,
and by `memorised`, the share of samples that are nearer to a training image than 99 % of the test images are. `test` and
`mixture` are the same of test images and of samples of the mixture.
"""

from __future__ import annotations

from functools import cached_property
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
from stages.mnist.images.subset import held_out
from stages.nn.method import HasFlow
from stages.pipeline import artifacts, files, runner, seeding
from stages.pixels.evaluation.image_quality import distance_to_nearest, frechet_distance, memorised, precision_and_recall
from stages.pixels.evaluation.sampling import denoised, estimated_log_likelihood, last_sigma, sample, score_at, sigmas_of
from stages.pixels.evaluation.true_method import truth_as
from stages.pixels.networks.build import trained
from stages.pixels.problem import mixture as problem
from stages.pixels.problem.mixture import PixelMixture
from stages.pixels.problem.paths import fields, metrics, shape_of

Array = NDArray[np.float64]
SEEN = 0.5
"""The noise level at which the mode of a sample is decided. Without noise a slightly wrong sample is in the widest mode."""
SHOWN = 24
"""Samples in the fields."""
SHOWN_ON_THE_WAY = 25
"""Images on the way from noise in the fields."""


def main(params: Params, name: str) -> None:
    """Measure the method called `name`."""
    seeding.set_up_torch(params.threads)
    device = seeding.device(params)
    train, test = (files.read_arrays(artifacts.data("mnist", part))["images"] for part in ("train", "test"))
    train = train[: len(train) - held_out(len(train), params.mnist.validation_images)]
    evaluation = Evaluation(params, *problem.read(), train, test, device)
    measured: dict[str, Any] = {}
    stored: dict[str, Array] = {}
    for data, evaluate in (("mixture", evaluation.on_mixture), ("images", evaluation.on_images)):
        measured[data], found = evaluate(trained(params, name, data, shape_of(train)).to(device))
        stored |= {f"{data}_{key}": value for key, value in found.items()}
    files.write_json(metrics(name), measured)
    files.write_arrays(fields(name), {**stored, "centre": evaluation.centre})


class Evaluation:
    """What the evaluation of all methods shares: the same points, noise and starts.

    Args:
        params: all of params.yaml.
        truth: the mixture.
        centre: the mean of the images (d,).
        train: training images, bytes (N, H, W) or (N, H, W, 3).
        test: test images, likewise.
        device: of the methods.
    """

    def __init__(
        self,
        params: Params,
        truth: PixelMixture,
        centre: Array,
        train: NDArray[np.uint8],
        test: NDArray[np.uint8],
        device: torch.device,
    ) -> None:
        self.params, self.pixels, self.truth, self.centre, self.device = params, params.pixels, truth, centre, device
        self.shape = shape_of(train)
        self.training = torch.from_numpy(problem.values(train, centre)).float()
        self.test = problem.values(test, centre)
        self.samples = min(params.pixels.samples, len(test) // 2)  # half of the test images are compared with the other half

    def rng(self, name: str) -> np.random.Generator:
        """The random numbers of a purpose, the same for all methods."""
        return np.random.default_rng(seeding.stream(self.params, f"pixels.{name}"))

    def sampled(self, method: Any) -> tuple[Array, Array, Array]:
        """Samples of a method, the way to them and its noise levels; all methods start from the same noise."""
        return sample(method, self.pixels, (self.samples, self.truth.dim), self.rng("start"), self.device)

    def on_mixture(self, method: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        """Metrics and fields of a method that was trained on samples of the mixture."""
        score = self.score_errors(method)
        measured: dict[str, Any] = {"sigma": last_sigma(method), "score": score}
        if isinstance(method, HasFlow):
            measured["likelihood"] = self.likelihood(method)
        density = self.truth.smoothed(last_sigma(method))
        samples, walk, levels = self.sampled(method)
        controlled, _, _ = self.sampled(truth_as(self.truth, method))
        exact, other = (density.sample(len(samples), self.rng(name)) for name in ("exact", "other"))
        weights = [self.mode_weights(method, x) for x in (samples, controlled, other)]
        truth = (density, density.log_density(exact).mean(), self.embedded(exact))
        generated, of_true_score, of_exact = (
            self.against_truth(*truth, x, shares) for x, shares in zip((samples, controlled, other), weights, strict=True)
        )
        measured["samples"] = {**generated, "true_score": of_true_score, "exact": of_exact}
        return measured, {
            "samples": samples[:SHOWN],
            "exact": exact[:SHOWN],
            "walk": walk[:, :SHOWN_ON_THE_WAY].astype(np.float32),
            "levels": levels,
            "mode_weights": weights[0],
            "mode_weights_true_score": weights[1],
            "true_weights": self.truth.weights,
            "sigmas": np.array(sigmas_of(method)),
            **{
                f"errors_{part}_{key}": np.array([one["mean"] for one in score[part][key].values()])
                for part in ("within", "outside")
                for key in ("per_sigma", "affine_per_sigma")
            },
        }

    def score_errors(self, method: Any) -> dict[str, Any]:
        """The relative Fisher divergence within the principal components and outside of them, at each noise level."""
        clean = self.truth.sample(self.pixels.test_points, self.rng("points"))
        noise = self.rng("noise").standard_normal(clean.shape)
        found: dict[str, Any] = {part: {"per_sigma": {}, "affine_per_sigma": {}} for part in ("within", "outside")}
        for sigma in sigmas_of(method):
            density, x = self.truth.smoothed(sigma), clean + sigma * noise
            true = density.split(density.score(x))
            scores = {"per_sigma": score_at(method, sigma, self.device)(x), "affine_per_sigma": density.affine_score(x)}
            for key, score in scores.items():
                for part, own, expected in zip(found, density.split(score), true, strict=True):
                    found[part][key][f"{sigma:.6g}"] = over_seeds(relative_error(own, expected))
        return found

    def likelihood(self, method: Any) -> dict[str, Any]:
        """The Kullback-Leibler divergence KL(p_σ ‖ q) of a flow, on new points of p_σ at the method's smallest noise level."""
        density = self.truth.smoothed(last_sigma(method))
        x = density.sample(self.pixels.likelihood_points, self.rng("likelihood"))
        difference = density.log_density(x) - estimated_log_likelihood(method, x, self.rng("signs"), self.device)
        return {
            "kl": over_seeds(difference.mean()),
            "kl_standard_error": over_seeds(difference.std(ddof=1) / np.sqrt(len(x))),
            "kl_per_pixel": over_seeds(difference.mean() / self.truth.dim),
        }

    def mode_weights(self, method: Any, samples: Array) -> Array:
        """The mean posterior probability of each mode given the samples with noise up to the level `SEEN`, (K,)."""
        sigma = last_sigma(method)
        more = np.sqrt(max(SEEN**2 - sigma**2, 0.0))
        noisy = samples + more * self.rng("seen").standard_normal(samples.shape)
        return np.asarray(self.truth.smoothed(max(SEEN, sigma)).responsibilities(noisy).mean(0))

    def against_truth(
        self, density: PixelMixture, expected: float, exact: Array, samples: Array, shares: Array
    ) -> dict[str, Any]:
        """Samples of p_σ against the truth.

        Args:
            density: p_σ.
            expected: the mean of log p_σ of exact samples.
            exact: the embeddings of these samples (N, D).
            samples: the samples (N, d).
            shares: their shares of the modes (K,).
        """
        return {
            "mode_weight_tv": over_seeds(mode_weight_tv(shares, density.weights)),
            "log_density_gap": over_seeds(expected - density.log_density(samples).mean()),
            "frechet_distance": over_seeds(frechet_distance(exact, self.embedded(samples))),
        }

    def on_images(self, method: Any) -> tuple[dict[str, Any], dict[str, Array]]:
        """Metrics and fields of a method that was trained on the images."""
        noisy, walk, levels = self.sampled(method)
        samples = denoised(method, noisy, self.device)
        order = self.rng("test").permutation(len(self.test))
        real, other = (self.test[order[i * len(samples) : (i + 1) * len(samples)]] for i in (0, 1))
        embedded = self.embedded(real)
        measured = {"sigma": last_sigma(method)} | self.against_images(samples, embedded)
        measured["test"] = self.against_images(other, embedded)
        measured["mixture"] = self.against_images(self.truth.sample(len(samples), self.rng("exact")), embedded)
        return measured, {
            "samples": samples[:SHOWN],
            "test": real[:SHOWN],
            "walk": walk[:, :SHOWN_ON_THE_WAY].astype(np.float32),
            "levels": levels,
        }

    def against_images(self, samples: Array, real: Array) -> dict[str, Any]:
        """Samples (N, d) against the embeddings (N, D) of as many test images, and against the training images."""
        own = self.embedded(samples)
        precision, recall = precision_and_recall(real, own)
        distances = distance_to_nearest(self.clipped(samples), self.training)
        return {
            "frechet_distance": over_seeds(frechet_distance(real, own)),
            "precision": over_seeds(precision),
            "recall": over_seeds(recall),
            "memorised": over_seeds(memorised(distances, self.test_distances)),
        }

    @cached_property
    def test_distances(self) -> Array:
        """The distances of all test images to the nearest training image, (M,)."""
        return distance_to_nearest(self.test, self.training)

    @cached_property
    def encoder(self) -> Any:
        """The trained encoder in whose embedding images are compared."""
        return models.trained(self.params, self.params.mnist.methods[0]).to(self.device)

    def clipped(self, x: Array) -> Array:
        """Vectors whose pixel values are from −1 to 1, as those of images are."""
        return np.asarray((x + self.centre).clip(-1, 1) - self.centre)

    def embedded(self, x: Array) -> Array:
        """Embeddings (N, D) of vectors (N, d), which are first rounded to bytes."""
        images = np.rint(255 * problem.pixels(x, self.centre, self.shape)).astype(np.uint8)
        found = for_knn(self.encoder, embed(self.encoder, torch.from_numpy(images), self.device))
        return np.asarray(found.double().numpy())


if __name__ == "__main__":
    runner.run(main)
