"""Score-based methods on images: the mixture in pixel space, the U-Net, samples, likelihoods and image quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from stages.config import params as parameters
from stages.core.errors import InvalidParams
from stages.mog.problem import path
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.noise import TrainingNoise
from stages.pixels.evaluation import sampling
from stages.pixels.evaluation.image_quality import distance_to_nearest, frechet_distance, precision_and_recall
from stages.pixels.networks.build import settings, untrained
from stages.pixels.networks.unet import UNet
from stages.pixels.problem import mixture
from stages.tools.small import change_params

RNG = np.random.default_rng(0)
METHODS = ["dsm", "ncsn", "diffusion", "flow_matching"]
CPU = torch.device("cpu")


# ---------------------------------------------------------------- the mixture


def test_images_become_vectors_and_come_back() -> None:
    images = RNG.integers(0, 256, (5, 4, 6), dtype=np.uint8)
    x = mixture.values(images)
    assert x.shape == (5, 24) and x.min() >= -1 and x.max() <= 1
    assert np.array_equal(mixture.images(x, (4, 6)), images)
    assert mixture.images(np.array([[-3.0, 3.0]]), (1, 2)).tolist() == [[[0, 255]]]


def test_the_density_in_pixel_space_is_that_of_the_fitted_parameters() -> None:
    x = np.concatenate([RNG.normal(k, 0.2 + 0.2 * k, (300, 6)) for k in range(2)])
    found = mixture.fit(x, modes=2, components=3, seed=0)
    built = mixture.build(found)
    point = x[:1]
    expected = 0.0
    outside = float(found["noise"]) ** 2 * (np.eye(6) - found["basis"].T @ found["basis"])
    for weight, mean, inside in zip(found["weights"], found["means"], found["covariances"], strict=True):
        whole = found["basis"].T @ inside @ found["basis"] + outside
        expected += weight * multivariate_normal.pdf(point[0], found["centre"] + mean @ found["basis"], whole)
    assert built.log_density(point)[0] == pytest.approx(np.log(expected))
    mean, covariance = built.moments()
    assert np.allclose(mean, x.mean(0), atol=0.02)
    assert np.trace(covariance) == pytest.approx(x.var(0).sum(), rel=0.02), "the noise has the variance outside of the basis"


def test_samples_of_the_mixture_have_its_moments_and_weights() -> None:
    truth = Mixture(np.array([[-2.0, 0, 1], [3, 1, 0]]), np.stack([np.eye(3), np.diag([0.5, 2, 1])]), np.array([0.3, 0.7]))
    x = mixture.sample(truth, 20_000, np.random.default_rng(1))
    mean, covariance = truth.moments()
    assert np.abs(x.mean(0) - mean).max() < 0.05
    assert np.abs(np.cov(x.T) - covariance).max() < 0.1
    assert np.abs(truth.responsibilities(x).mean(0) - truth.weights).max() < 0.02
    first, second = truth.responsibilities(x).argmax(-1)[:10_000].mean(), truth.responsibilities(x).argmax(-1)[10_000:].mean()
    assert abs(first - second) < 0.03, "the samples are shuffled"


# ---------------------------------------------------------------- the network


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14), (1, 8, 8)])
@pytest.mark.parametrize("conditioned", [True, False])
def test_the_network_maps_images_of_any_size_to_images(shape: tuple[int, int, int], conditioned: bool) -> None:
    network = UNet(shape=shape, patch=2, channels=[8, 16], conditioned=conditioned)
    size = int(np.prod(shape))
    x = torch.randn(1, 3, size + conditioned)
    out = network(x)
    assert out.shape == (1, 3, size)
    assert out.abs().max() == 0, "it starts as the zero function"
    torch.nn.init.normal_(network.last.weight, std=0.1)
    out = network(x)
    assert out.abs().max() > 0
    for place in (0, -1):
        changed = x.clone()
        changed[..., place] += 1
        assert not torch.allclose(network(changed), out), "it depends on the image and on the noise level"
    alone = network(x[:, 1:2])
    assert torch.allclose(alone, out[:, 1:2], atol=1e-4), "an image does not depend on the rest of the batch"


def test_every_pixel_of_the_input_can_reach_every_pixel_of_the_output() -> None:
    network = UNet(shape=(1, 28, 28), patch=2, channels=[8, 16, 16], conditioned=False)
    torch.nn.init.normal_(network.last.weight)
    x = torch.randn(1, 1, 784, requires_grad=True)
    (slope,) = torch.autograd.grad(network(x)[0, 0, 14 * 28 + 14], x)
    assert (slope.reshape(28, 28)[4:24, 4:24] != 0).all()


@pytest.mark.parametrize("name", METHODS)
def test_each_score_based_method_trains_on_images(name: str) -> None:
    method: Any = untrained(parameters.load(), name, (1, 28, 28))
    noise = TrainingNoise(torch.Generator().manual_seed(0))
    loss = method.loss(torch.randn(1, 4, 784), noise)["loss"]
    loss.sum().backward()
    assert loss.shape == (1,) and torch.isfinite(loss).all()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"methods": ["contrastive"], "settings": {"contrastive": {}}}, "pixels.methods: 'contrastive' is not accepted"),
        ({"methods": ["nce"], "settings": {"nce": {}}}, "pixels.methods: 'nce' is not accepted"),
        ({"settings": {"dsm": {"sigma": -1.0}}}, "pixels.settings.dsm.sigma: -1.0 is not accepted"),
        ({"settings": {"dsm": {"sigma": 1.0, "more": 2}}}, "pixels.settings.dsm.more: 2 is not accepted: there is no such key"),
        (
            {"settings": {"dsm": {"network": {}, "sigma": 1.0}}},
            "pixels.settings.dsm.network: {} is not accepted: there is no such key",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    change_params(tmp_path, {"pixels": changes})
    loaded = parameters.load(tmp_path / "params.yaml")
    name = changes.get("methods", ["dsm"])[0]
    with pytest.raises(InvalidParams) as error:
        settings(loaded, name)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_method_without_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    change_params(tmp_path, {"pixels": {"methods": ["ism"]}})
    with pytest.raises(InvalidParams, match=r"pixels.methods: 'ism' is not accepted: expected any of pixels.settings: dsm"):
        parameters.load(tmp_path / "params.yaml")


# ---------------------------------------------------------------- samples and likelihoods

TRUTH = Mixture(
    means=np.array([[1.0, 0.5, 0, 0], [-1, 0, 0.5, 0]]),
    covariances=np.stack([0.05 * np.eye(4), np.diag([0.1, 0.05, 0.02, 0.04])]),
    weights=np.array([0.7, 0.3]),
)


class TrueScore:
    """The analytic scores of `TRUTH` as a method with a noise schedule."""

    sigmas = [4.0, 2.0, 1.0, 0.5, 0.25, 0.1]  # noqa: RUF012

    def score_at(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.from_numpy(TRUTH.smoothed(sigma).score(x.numpy())).float()


class TrueFlow(TrueScore):
    """The probability flow of the analytic scores; t = ln σ."""

    start, end = float(np.log(40.0)), float(np.log(0.1))
    times: list[float] = []  # noqa: RUF012

    def time_of(self, sigma: float) -> float:
        return float(np.log(sigma))

    def path(self, t: float) -> tuple[float, float, float, float]:
        return 1.0, float(np.exp(t)), 0.0, float(np.exp(t))

    def velocity(self, x: torch.Tensor, t: float) -> torch.Tensor:
        return Velocity.apply(x, t)  # type: ignore[no-any-return, no-untyped-call]


class Velocity(torch.autograd.Function):
    """The analytic velocity and its derivative along a vector by central differences."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, t: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.t = t
        return torch.from_numpy(path.velocity(TRUTH, TrueFlow().path(t), x.numpy())).float()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        (x,), at = ctx.saved_tensors, TrueFlow().path(ctx.t)
        points, step = x.numpy().astype(np.float64), 1e-4
        columns = []
        for i in range(points.shape[-1]):
            offset = step * np.eye(points.shape[-1])[i]
            rise = path.velocity(TRUTH, at, points + offset) - path.velocity(TRUTH, at, points - offset)
            columns.append((rise / (2 * step) * slopes[0].numpy()).sum(-1))
        return torch.from_numpy(np.stack(columns, -1)).float(), None


@pytest.mark.parametrize("method", [TrueScore(), TrueFlow()])
def test_the_samplers_find_the_modes_with_the_true_score(method: Any) -> None:
    pixels = parameters.load().pixels
    slowly = pixels.langevin.model_copy(update={"steps": 3000})
    pixels = pixels.model_copy(update={"samples": 600, "frames": 5, "langevin": slowly})
    found, walk, levels = sampling.sample(method, pixels, 4, np.random.default_rng(0), CPU)
    assert found.shape == (600, 4) and walk.shape[1:] == (600, 4) and len(walk) == len(levels)
    assert levels[0] == 4 and levels[-1] == pytest.approx(0.1)
    density = TRUTH.smoothed(sampling.last_sigma(method))
    assert np.abs(density.responsibilities(found).mean(0) - TRUTH.weights).max() < 0.1
    exact = mixture.sample(density, 600, np.random.default_rng(1))
    assert abs(density.log_density(found).mean() - density.log_density(exact).mean()) < 0.3
    spread = walk.std((1, 2))
    assert spread[0] > 3 > spread[-1], "from noise to data"


def test_the_estimated_likelihood_of_the_true_flow_is_the_true_one() -> None:
    density = TRUTH.smoothed(0.1)
    x = mixture.sample(density, 40, np.random.default_rng(2))
    runs = [
        sampling.estimated_log_likelihood(TrueFlow(), x, np.random.default_rng(seed), CPU) - density.log_density(x)
        for seed in range(6)
    ]
    error = np.mean(runs)
    assert abs(error) < 0.3, "unbiased"
    assert np.std(runs) > 0, "an estimate"


# ---------------------------------------------------------------- image quality


def test_the_frechet_distance_of_normal_densities() -> None:
    a, b = RNG.normal(size=(4000, 3)), 2 * RNG.normal(size=(4000, 3)) + [3, 0, 0]
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(9 + 3 * (1 + 4 - 2 * 2), rel=0.05)


def test_precision_and_recall_of_missing_and_of_wrong_images() -> None:
    left, right = RNG.normal(size=(200, 2)), RNG.normal(size=(200, 2)) + 50
    both = np.concatenate((left[:100], right[:100]))
    assert precision_and_recall(both, both) == (1.0, 1.0)
    precision, recall = precision_and_recall(both, left)
    assert precision > 0.9 and 0.4 < recall < 0.6, "half of the images is never generated"
    precision, recall = precision_and_recall(left, both)
    assert 0.4 < precision < 0.6 and recall > 0.9, "half of the generated images is wrong"


def test_the_distance_to_the_nearest_training_image() -> None:
    training = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert distance_to_nearest(np.array([[0.0, 0.0], [3.0, 3.0], [-3.0, -4.0]]), training) == pytest.approx([0, 1, 5])
