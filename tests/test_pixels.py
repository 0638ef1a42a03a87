"""Score-based methods on images: the mixture in pixel space, the U-Net, samples, likelihoods and image quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from stages.config import params as parameters
from stages.core.errors import InvalidParams, UserError
from stages.mog.problem import path
from stages.mog.problem.gaussian_mixture import Mixture
from stages.nn.noise import TrainingNoise
from stages.pixels import evaluate
from stages.pixels.evaluation import sampling
from stages.pixels.evaluation.image_quality import distance_to_nearest, frechet_distance, memorised, precision_and_recall
from stages.pixels.evaluation.true_method import TrueFlow, TrueScores
from stages.pixels.networks import unet
from stages.pixels.networks.build import settings, untrained
from stages.pixels.networks.unet import UNet
from stages.pixels.problem import mixture
from stages.pixels.problem.mixture import PixelMixture
from stages.pixels.problem.paths import shape_of
from stages.tools.small import change_params

RNG = np.random.default_rng(0)
METHODS = ["dsm", "ncsn", "diffusion", "flow_matching"]
CPU = torch.device("cpu")


# ---------------------------------------------------------------- the mixture


def mixture_in_space(dim: int = 6, noise: float = 0.3) -> PixelMixture:
    """A mixture with two modes along two of the dimensions."""
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, 2)))[0].T
    covariances = np.array([[[0.4, 0.1], [0.1, 0.2]], [[0.3, 0.0], [0.0, 0.5]]])
    return PixelMixture(Mixture(np.array([[-2.0, 0.5], [1.5, -0.5]]), covariances, np.array([0.3, 0.7])), basis, noise)


def dense(truth: PixelMixture) -> Mixture:
    """The same mixture with covariances in all dimensions."""
    outside = truth.noise**2 * (np.eye(truth.dim) - truth.basis.T @ truth.basis)
    covariances = [truth.basis.T @ one @ truth.basis + outside for one in truth.inner.covariances]
    return Mixture(truth.inner.means @ truth.basis, np.stack(covariances), truth.weights)


@pytest.mark.parametrize("a, b", [(1.0, 0.0), (1.0, 0.7), (0.4, 0.6)])
def test_density_score_and_posterior_are_those_of_the_mixture_in_all_dimensions(a: float, b: float) -> None:
    truth = mixture_in_space()
    at, expected = truth.at(a, b), path.density(dense(truth), (a, b, 0.0, 0.0))
    x = RNG.normal(size=(20, 6))
    assert np.allclose(at.log_density(x), expected.log_density(x))
    assert np.allclose(at.score(x), expected.score(x))
    assert np.allclose(at.responsibilities(x), expected.responsibilities(x))
    mean, covariance = expected.moments()
    assert np.allclose(at.affine_score(x), np.linalg.solve(covariance, (mean - x).T).T)
    assert np.allclose(truth.velocity((a, b, -0.5, 0.8), x), path.velocity(dense(truth), (a, b, -0.5, 0.8), x))


def test_samples_of_the_mixture_have_its_moments_and_weights() -> None:
    truth = mixture_in_space()
    x = truth.sample(20_000, np.random.default_rng(1))
    mean, covariance = dense(truth).moments()
    assert np.abs(x.mean(0) - mean).max() < 0.05
    assert np.abs(np.cov(x.T) - covariance).max() < 0.1
    assert np.abs(truth.responsibilities(x).mean(0) - truth.weights).max() < 0.02


def test_images_become_centred_vectors_and_come_back() -> None:
    images = RNG.integers(0, 256, (5, 4, 6), dtype=np.uint8)
    centre = images.reshape(5, -1).mean(0) / 127.5 - 1
    x = mixture.values(images, centre)
    assert x.shape == (5, 24) and np.abs(x.mean(0)).max() < 1e-12
    assert np.array_equal(np.rint(255 * mixture.pixels(x, centre, (1, 4, 6))), images)
    assert mixture.pixels(np.array([[-3.0, 3.0]]), np.zeros(2), (1, 1, 2)).tolist() == [[[0, 1]]]


def test_colour_images_become_vectors_with_one_channel_after_the_other() -> None:
    images = RNG.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
    x = mixture.values(images, np.zeros(72))
    assert np.allclose(x[:, :24], images[..., 0].reshape(5, -1) / 127.5 - 1)
    assert np.array_equal(np.rint(255 * mixture.pixels(x, np.zeros(72), shape_of(images))), images)


def test_the_fit_finds_the_mixture_that_the_images_come_from() -> None:
    truth = mixture_in_space(noise=0.05)
    x = truth.sample(4000, np.random.default_rng(0)) / 4
    images = np.rint((x + 1) * 127.5).clip(0, 255).astype(np.uint8).reshape(-1, 2, 3)
    found = mixture.fit(images, modes=2, components=2, seed=0)
    fitted = PixelMixture(
        Mixture(found["means"], found["covariances"], found["weights"]), found["basis"], float(found["noise"])
    )
    assert np.allclose(found["weights"], [0.7, 0.3], atol=0.03), "the largest first"
    points = truth.sample(2000, np.random.default_rng(5)) / 4
    gap = truth.at(0.25, 0.0).log_density(points).mean() - fitted.log_density(points - found["centre"]).mean()
    assert 0 <= gap < 0.05, "the divergence from the truth"
    mean, covariance = dense(fitted).moments()
    assert np.abs(mean).max() < 1e-6
    assert np.trace(covariance) == pytest.approx((images.reshape(len(images), -1) / 127.5).var(0).sum(), rel=0.01)


@pytest.mark.parametrize(
    "settings_, message",
    [
        ({"modes": 41}, "pixels.modes: 41 is not accepted: expected at most 40"),
        ({"components": 2}, "pixels.components: 2 is not accepted: nothing is left outside"),
    ],
)
def test_a_fit_that_the_images_do_not_allow_is_refused(settings_: dict[str, int], message: str) -> None:
    images = np.zeros((40, 2, 3), dtype=np.uint8)
    images[:, :, :1] = RNG.integers(0, 256, (40, 2, 1))
    with pytest.raises(UserError, match=message):
        mixture.fit(images, **{"modes": 2, "components": 2, "seed": 0, **settings_})


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


def test_every_pixel_of_the_input_can_reach_every_pixel_of_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    # Normalisation over the whole image would let them do so without any convolution.
    monkeypatch.setattr(unet, "normalisation", lambda channels: torch.nn.Identity())
    network = UNet(shape=(1, 28, 28), patch=2, channels=[8, 16], conditioned=False)
    torch.nn.init.normal_(network.last.weight)
    for place in (0, 27, 14 * 28 + 14):
        x = torch.randn(1, 1, 784, requires_grad=True)
        (slope,) = torch.autograd.grad(network(x)[0, 0, place], x)
        reached = (slope.reshape(28, 28) != 0).float().mean()
        assert reached > 0.5, "the coarser level joins most of the image"


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

TRUTH = mixture_in_space(dim=8, noise=0.2)


class FlowPath:
    """The path of a flow: a(t) x + b(t) ε; `kind` is diffusion, t = ln σ, or straight."""

    def __init__(self, kind: str) -> None:
        self.straight = kind == "straight"
        self.start, self.end = (0.0, 1.0) if self.straight else (float(np.log(100.0)), float(np.log(0.1)))
        self.sigmas = [8.0, 2.0, 0.5, 0.1]
        self.times: list[float] = []

    def time_of(self, sigma: float) -> float:
        return 1 / (1 + sigma) if self.straight else float(np.log(sigma))

    def path(self, t: float) -> tuple[float, float, float, float]:
        return (t, 1 - t, 1.0, -1.0) if self.straight else (1.0, float(np.exp(t)), 0.0, float(np.exp(t)))

    def velocity(self, x: torch.Tensor, t: float) -> torch.Tensor:
        """Of no consequence: it makes this the interface of a flow."""
        return x

    def score_at(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """Of no consequence."""
        return x


class Differentiable(torch.autograd.Function):
    """The analytic velocity, and its derivative along a vector by central differences."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, flow: TrueFlow, t: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.flow, ctx.t = flow, t
        return TrueFlow.velocity(flow, x, t).float()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        (x,), step = ctx.saved_tensors, 1e-4
        columns = []
        for i in range(x.shape[-1]):
            offset = step * torch.eye(x.shape[-1], dtype=torch.float64)[i]
            ahead, behind = (TrueFlow.velocity(ctx.flow, x.double() + sign * offset, ctx.t) for sign in (1, -1))
            columns.append(((ahead - behind) / (2 * step) * slopes[0]).sum(-1))
        return torch.stack(columns, -1).float(), None, None


class DifferentiableFlow(TrueFlow):
    """The analytic flow with derivatives."""

    def velocity(self, x: torch.Tensor, t: float) -> torch.Tensor:
        return Differentiable.apply(x, self, t)  # type: ignore[no-any-return, no-untyped-call]


@pytest.mark.parametrize("kind", ["scores", "diffusion", "straight"])
def test_with_the_true_score_the_samplers_find_the_density(kind: str) -> None:
    pixels = parameters.load().pixels
    slowly = pixels.langevin.model_copy(update={"steps": 3000})
    pixels = pixels.model_copy(update={"samples": 600, "frames": 5, "langevin": slowly})
    sigmas = [8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.1]
    method: Any = TrueScores(TRUTH, sigmas) if kind == "scores" else TrueFlow(TRUTH, FlowPath(kind))
    found, walk, levels = sampling.sample(method, pixels, (pixels.samples, TRUTH.dim), np.random.default_rng(0), CPU)
    assert found.shape == (600, 8) and walk.shape == (5, 600, 8) and len(levels) == 5
    assert np.array_equal(walk[-1], found) and levels[0] == 8 and levels[-1] == pytest.approx(0.1)
    density = TRUTH.smoothed(sampling.last_sigma(method))
    assert np.abs(density.responsibilities(found).mean(0) - TRUTH.weights).max() < 0.08
    exact = density.sample(600, np.random.default_rng(1))
    assert abs(density.log_density(found).mean() - density.log_density(exact).mean()) < 0.4
    clean = sampling.denoised(method, found, CPU)
    assert TRUTH.split(clean)[1].std() < TRUTH.split(found)[1].std(), "denoised samples have less noise"


@pytest.mark.parametrize("kind", ["diffusion", "straight"])
def test_the_estimated_likelihood_of_the_true_flow_is_the_true_one(kind: str) -> None:
    method = DifferentiableFlow(TRUTH, FlowPath(kind))
    density = TRUTH.smoothed(0.1)
    x = density.sample(40, np.random.default_rng(2))
    runs = [
        sampling.estimated_log_likelihood(method, x, np.random.default_rng(seed), CPU) - density.log_density(x)
        for seed in range(6)
    ]
    assert abs(np.mean(runs)) < 0.25, "unbiased, whatever the scale at the end of the path"
    assert np.std(runs) > 0, "an estimate"


def test_a_flow_with_one_noise_level_has_one_frame() -> None:
    flow = FlowPath("diffusion")
    flow.sigmas = [0.1]
    pixels = parameters.load().pixels.model_copy(update={"samples": 10})
    found, walk, levels = sampling.sample(TrueFlow(TRUTH, flow), pixels, (pixels.samples, 8), np.random.default_rng(0), CPU)
    assert walk.shape == (1, 10, 8) and np.array_equal(walk[0], found) and levels.tolist() == [0.1]


# ---------------------------------------------------------------- the evaluation


class FakeEvaluation(evaluate.Evaluation):
    """An evaluation on the mixture alone, whose embedding is the identity."""

    def __init__(self, params: Any) -> None:
        self.params, self.pixels, self.truth, self.device = params, params.pixels, TRUTH, CPU
        self.samples = params.pixels.samples

    def embedded(self, x: Any) -> Any:
        return x


def without_first_mode(truth: PixelMixture) -> PixelMixture:
    """The mixture of all modes but the first."""
    inner = truth.inner
    return PixelMixture(Mixture(inner.means[1:], inner.covariances[1:], np.ones(1)), truth.basis, truth.noise)


def test_the_truth_in_the_place_of_a_method_has_no_error_and_a_wrong_score_has() -> None:
    params = parameters.load()
    pixels = params.pixels.model_copy(update={"samples": 400, "test_points": 300, "likelihood_points": 20, "frames": 3})
    evaluation = FakeEvaluation(params.model_copy(update={"pixels": pixels}))
    right, _ = evaluation.on_mixture(DifferentiableFlow(TRUTH, FlowPath("diffusion")))
    wrong, _ = evaluation.on_mixture(DifferentiableFlow(without_first_mode(TRUTH), FlowPath("diffusion")))

    def largest(found: dict[str, Any], part: str) -> float:
        return max(one["mean"] for one in found["score"][part]["per_sigma"].values())

    assert largest(right, "within") < 1e-9 < 0.05 < largest(wrong, "within")
    assert largest(wrong, "outside") < 1e-9, "what lies outside of the components says nothing about the modes"
    assert abs(right["likelihood"]["kl"]["mean"]) < 4 * right["likelihood"]["kl_standard_error"]["mean"] + 0.2
    assert wrong["likelihood"]["kl"]["mean"] > 1
    tv = {key: found["samples"]["mode_weight_tv"]["mean"] for key, found in (("right", right), ("wrong", wrong))}
    assert tv["right"] < 0.1 and tv["wrong"] == pytest.approx(0.3, abs=0.1)
    assert wrong["samples"]["true_score"]["mode_weight_tv"]["mean"] < 0.1, "the control has the true score"


# ---------------------------------------------------------------- image quality


def test_the_frechet_distance_of_normal_densities() -> None:
    a, b = RNG.normal(size=(4000, 3)), 2 * RNG.normal(size=(4000, 3)) + [3, 0, 0]
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(9 + 3 * (1 + 4 - 2 * 2), rel=0.05)
    first, second = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    assert frechet_distance(a, b) == pytest.approx(expected)


def test_the_frechet_distance_of_fewer_images_than_dimensions() -> None:
    a = RNG.normal(size=(10, 40))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 1) == pytest.approx(40)
    assert frechet_distance(a, RNG.normal(size=(10, 40))) > 0


def test_copies_of_training_images_are_memorised() -> None:
    training = torch.from_numpy(RNG.normal(size=(300, 20))).float()
    real = distance_to_nearest(RNG.normal(size=(300, 20)), training)
    copies = training[:50].double().numpy() + 0.01
    assert memorised(distance_to_nearest(copies, training), real) == 1
    assert memorised(distance_to_nearest(RNG.normal(size=(300, 20)), training), real) < 0.05


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
