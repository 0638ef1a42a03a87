"""Metrics of an exact method, of a broken one and of untrained networks, computed by the functions of the evaluation."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.config import params
from stages.config.mixture import MixtureParams
from stages.core.paths import ROOT
from stages.metrics import collapse, score_error
from stages.metrics.ranks import spearman
from stages.metrics.summary import over_seeds
from stages.mog import data, evaluate
from stages.mog.evaluation import conditionals, critics, embeddings, scores
from stages.mog.evaluation.embeddings import Embeddings
from stages.mog.evaluation.likelihoods import divergence
from stages.mog.evaluation.sampling import Comparison, region
from stages.mog.evaluation.spectra import spectrum_metrics
from stages.mog.problem import setup
from stages.mog.problem.gaussian_mixture import Array, Mixture
from stages.mog.problem.spectrum import pair_operator
from stages.nn.build import build, configured
from stages.nn.losses import info_nce
from stages.nn.noise import FixedNoise
from stages.nn.points import Points
from stages.pipeline import card, files, seeding
from stages.tools.small import merged
from tests.plane import DESCRIBED, MOG, REFERENCE, gaussianised

SIGMA, VIEW = 0.5, 0.3
THRESHOLDS = {"variance_ratio": 0.01, "normalised_std": 0.1}
GRID_X, GRID_Y = setup.grid_axes(DESCRIBED, MOG.evaluation.grid)
NODES = np.stack(np.meshgrid(GRID_X, GRID_Y), -1).reshape(-1, 2)
SINGLE_MODE = Mixture([[-5, 5]], [np.eye(2)], [1])
"""A mixture with one of the reference's modes only."""


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def score(
    described: MixtureParams, believed: Mixture | None = None, sampled: Mixture | None = None, sign: float = 1
) -> dict[str, Any]:
    """Score, energy and sampling metrics of a method that has the score of one mixture where another is the truth.

    Args:
        described: the true mixture.
        believed: the mixture whose score and energy the method has; by default the true one.
        sampled: the mixture that the method's samples come from; by default the true one.
        sign: factor on the score; −1 negates it.
    """
    truth = setup.mixture(described)
    grid_x, grid_y = setup.grid_axes(described, MOG.evaluation.grid)
    nodes = np.stack(np.meshgrid(grid_x, grid_y), -1).reshape(-1, 2)
    true, learned = truth.smoothed(SIGMA), (believed or truth).smoothed(SIGMA)
    energy = -sign * learned.log_density(nodes).reshape(1, len(grid_y), len(grid_x))
    scores_on_grid = sign * learned.score(nodes)
    exact, _ = true.sample(20_000, np.random.default_rng(1))
    samples, _ = (sampled or truth).smoothed(SIGMA).sample(20_000, np.random.default_rng(2))
    comparison = Comparison(true, region(described, SIGMA), len(exact), _rng())
    found, control = (comparison.metrics(x[None]) for x in (samples, exact))
    points, _ = true.sample(2000, _rng())
    error = score_error.relative_error(sign * learned.score(points)[None], true.score(points))
    return {
        "score": {
            "relative_fisher_error": over_seeds(error),
            **scores.energy_metrics(true, energy, grid_x, grid_y),
            **scores.direction_metrics(true, scores_on_grid[None], true.score(nodes), nodes),
        },
        "sampling": {
            **dict.fromkeys(("langevin", "annealed", "flow"), found),
            **{f"control_{name}": control for name in ("langevin", "annealed", "flow")},
            "exact": control,
        },
    }


def _critic(scale: float) -> dict[str, Any]:
    """Metrics of a critic that is the pointwise mutual information times a factor."""
    x, _ = REFERENCE.sample(200, _rng())
    other = x + VIEW * _rng().standard_normal(x.shape)
    truth = REFERENCE.pointwise_mutual_information(x[:, None], other[None], 0, VIEW)
    # With a clean first view, p(x' | x) is the density of the noise.
    slope = scale * (-(other - x) / VIEW**2 - REFERENCE.smoothed(VIEW).score(other))
    implied = over_seeds(critics.implied_score_error(slope[None], REFERENCE, x, other, 0, VIEW))
    metrics = critics.critic_metrics(scale * truth[None], truth)
    return {"critic": metrics | {"implied_relative_fisher_error": implied}}


def _embedding(after: Array, before: Array, train: Array, component: tuple[Any, Any], x: Array) -> dict[str, Any]:
    """Metrics of embeddings of the test points x after and before training; the k-NN metrics use the training points."""
    log_density = REFERENCE.log_density(NODES)
    empty = NODES[log_density < log_density.max() + np.log(1e-3)]
    raw = Embeddings(train[None], x[None], *component)
    seen, untrained = (Embeddings(train[None], z[None], *component) for z in (after, before))
    collapsed = np.ptp(after) <= 1e-3
    # The cosine energy is low on the data of one component and high elsewhere or, after a collapse, constant.
    data = after if collapsed else np.eye(3)[component[1]]
    elsewhere = np.tile(after[0] if collapsed else -np.ones(3), (1, len(empty), 1))
    aurocs, depths = embeddings.well_metrics(data[None], component[1], elsewhere)
    # Before training, the embedding is the identity.
    untrained_aurocs, untrained_depths = embeddings.well_metrics(x[None], component[1], empty[None])
    wells = {
        "energy_auroc": over_seeds(aurocs),
        "depth": over_seeds(depths),
        "energy_auroc_untrained": over_seeds(untrained_aurocs),
        "depth_untrained": over_seeds(untrained_depths),
    }
    return {
        "structure": embeddings.structure_metrics(x, after[None], before[None], 5, cosine=False),
        "collapse": collapse.report(after[None], before[None], thresholds=THRESHOLDS),
        "clusters": embeddings.cluster_metrics(REFERENCE, raw, seen, untrained, len(x), 5),
        "wells": wells,
    }


def _jacobian(sign: float) -> dict[str, Any]:
    """Metrics of the log-volume of an exact map to a Gaussian, times a sign; before training, of an unrelated log-volume."""
    x, _ = REFERENCE.sample(2000, _rng())
    density, z = REFERENCE.log_density(x), gaussianised(torch.from_numpy(x), first=0)[0].numpy()
    volume, unrelated = density + (z**2).sum(-1) / 2, np.random.default_rng(7).standard_normal(len(x))
    scores = {"spearman": sign * volume, "spearman_untrained": unrelated}
    return {"jepa_score": {name: over_seeds([spearman(score, density)]) for name, score in scores.items()}}


def _spectrum(trained: bool) -> dict[str, Any]:
    """Metrics of the optimal embedding of the positive pairs or, before training, of a constant one."""
    operator = pair_operator(REFERENCE, 1.0)
    values, functions = operator.eigenpairs(8)
    optimum = (functions * np.sqrt(values[:, None])).T[None]
    constant = np.ones_like(optimum)
    return {"spectrum": spectrum_metrics(operator, optimum if trained else constant, constant, 3, spectral=True)}


def _likelihood(believed: Mixture) -> dict[str, Any]:
    """The divergence of the reference mixture from another density."""
    x, _ = REFERENCE.sample(2000, _rng())
    return {"likelihood": divergence(REFERENCE.log_density(x), believed.log_density(x)[None])}


class TrueConditionals:
    """A method with the identity as embedding and the analytic conditional mean and density of a hidden coordinate."""

    def embed(self, x: Tensor) -> Tensor:
        """The points (N, 2) themselves, (1, N, 2)."""
        return x.double()[None]

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """The visible coordinate with the conditional mean of the hidden one, (1, N, 2)."""
        points, hidden = x.double().numpy(), _hidden(visible)
        predicted = points.copy()
        predicted[:, hidden] = REFERENCE.conditional_mean(hidden, points[:, 1 - hidden])
        return torch.from_numpy(predicted)[None]

    def log_density(self, x: Tensor, visible: Tensor) -> Tensor:
        """Log p(x_h | x_v), (1, N)."""
        return torch.from_numpy(REFERENCE.conditional_log_density(_hidden(visible), x.double().numpy()))[None]


class Ignorant(TrueConditionals):
    """A method that ignores the visible coordinate: it predicts the mean of all points and one normal density."""

    MEAN = REFERENCE.weights @ REFERENCE.means
    VARIANCE = REFERENCE.weights @ (REFERENCE.covariances.diagonal(0, 1, 2) + (REFERENCE.means - MEAN) ** 2)

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """The mean of all points, (1, N, 2)."""
        return torch.from_numpy(self.MEAN).expand(1, *x.shape)

    def log_density(self, x: Tensor, visible: Tensor) -> Tensor:
        """The log-density of a normal with the mean and variance of the hidden coordinate, (1, N)."""
        hidden = _hidden(visible)
        variance = self.VARIANCE[hidden]
        return -((x[:, hidden].double() - self.MEAN[hidden]) ** 2 / variance + np.log(2 * np.pi * variance))[None] / 2


def _hidden(visible: Tensor) -> int:
    """The coordinate that a mask hides, the same for all points."""
    return int(visible.reshape(-1, 2)[0].argmin())


def conditional_model(method: Any, train: Array, test: Array) -> Any:
    """An evaluated model with only the attributes that `evaluate_conditionals` reads."""
    return SimpleNamespace(
        trained=method,
        train={"x": train},
        test={"x": test},
        device=torch.device("cpu"),
        seeds=1,
        described=DESCRIBED,
        mixture=REFERENCE,
        grid_y=GRID_Y,
        protocol=SimpleNamespace(evaluation=MOG.evaluation),
    )


def _conditional(method: TrueConditionals, train: Array, x: Array) -> dict[str, Any]:
    """Metrics of a method's conditionals at the test points x."""
    return conditionals.evaluate_conditionals(conditional_model(method, train, x))[0]


def _batch_dependence(loss: Callable[[Tensor, FixedNoise], Tensor]) -> dict[str, Any]:
    """The batch dependence of an objective, from points (S, B, 2) and their noise to (S,)."""
    x, _ = REFERENCE.sample(32, _rng())
    batch = (torch.from_numpy(x), torch.from_numpy(_rng().standard_normal((2, *x.shape))), torch.ones(x.shape))
    model: Any = SimpleNamespace(
        heldout_batches=lambda: iter([batch]),
        seeds=1,
        trained=SimpleNamespace(loss=lambda x, source: {"loss": loss(x, source)}),
    )
    return over_seeds(evaluate.batch_dependence(model))


def _exact_info_nce(x: Tensor, source: FixedNoise) -> Tensor:
    """The InfoNCE loss of the pointwise mutual information between points and noisy views of them."""
    first, second = x.numpy(), (x + VIEW * source.normal(x)).numpy()
    pmi = REFERENCE.pointwise_mutual_information(first[..., :, None, :], second[..., None, :, :], 0, VIEW)
    return info_nce(torch.from_numpy(pmi))


def _zero_score_loss(x: Tensor, source: FixedNoise) -> Tensor:
    """The denoising score matching loss of a zero score: a sum over single points."""
    return (source.normal(x) / SIGMA).square().sum(-1).mean(-1)


@cache
def spread() -> dict[str, Any]:
    """The metrics of `exact`, with an embedding that fills 16 dimensions in every seed."""
    z = np.random.default_rng(5).standard_normal((1, 500, 16)).repeat(4, 0)
    return {**exact(), "collapse": collapse.report(z, z, thresholds=THRESHOLDS)}


@cache
def fallen() -> dict[str, Any]:
    """The metrics of `broken`, with an embedding that collapses in every other of four seeds."""
    z = np.random.default_rng(5).standard_normal((4, 500, 16)) * np.array([1e-4, 1e-3, 1e-4, 1e-3])[:, None, None] + 1e-3
    z[:, :, 1:] *= 1e-3
    return {**broken(), "collapse": collapse.report(z, np.ones_like(z) + z, thresholds=THRESHOLDS)}


@cache
def exact() -> dict[str, Any]:
    """Metrics of a method that equals the truth."""
    (train, a), (x, b) = REFERENCE.sample(3000, _rng()), REFERENCE.sample(400, np.random.default_rng(1))
    separated = x + 3 * REFERENCE.means[b]
    noise = np.random.default_rng(2).standard_normal(x.shape)
    return {
        "batch_dependence": _batch_dependence(_exact_info_nce),
        **score(DESCRIBED),
        **_critic(1),
        **_embedding(separated, x + 9 * noise, train, (a, b), x),
        **_spectrum(trained=True),
        **_jacobian(1),
        **_likelihood(REFERENCE),
        **_conditional(TrueConditionals(), train, REFERENCE.sample(2000, np.random.default_rng(4))[0]),
    }


@cache
def broken() -> dict[str, Any]:
    """Metrics of a negated score, samples of one mode, a constant critic, a collapsed embedding and constant predictions."""
    (train, a), (x, b) = REFERENCE.sample(3000, _rng()), REFERENCE.sample(400, np.random.default_rng(1))
    collapsed = np.ones_like(x) + 1e-6 * np.random.default_rng(3).standard_normal(x.shape)
    return {
        "batch_dependence": _batch_dependence(_zero_score_loss),
        **score(DESCRIBED, sampled=SINGLE_MODE, sign=-1),
        **_critic(0),
        **_embedding(collapsed, x, train, (a, b), x),
        **_spectrum(trained=False),
        **_jacobian(-1),
        **_likelihood(SINGLE_MODE),
        **_conditional(Ignorant(), train, REFERENCE.sample(2000, np.random.default_rng(4))[0]),
    }


SMALL = {
    "seeds": 4,
    "device": "cpu",
    "mog": {
        "preset": "reference",
        "train_points": 1000,
        "test_points": 400,
        "snapshots": 2,
        "heldout_rounds": 1,
        "evaluation": {"grid": 40, "walk_points": 2, "structure_points": 200, "score_points": 1000, "denoising_draws": 500},
    },
    "langevin": {"particles": 200, "steps": 40, "frames": 2},
    "annealed": {"particles": 400, "steps": 2, "frames": 2},
    "page": {"coarse": 2, "snapshots": 2},
}
"""Changes of params.yaml with which the evaluation of a method takes a fraction of a second."""


def small_world(folder: Path, preset: str = "reference") -> None:
    """Write params.yaml with the changes of `SMALL`, mixtures.yaml and the outputs of stage mog_data into a folder."""
    changes = merged(SMALL, {"mog": {"preset": preset}})
    files.write_json(folder / "params.yaml", merged(params.read(ROOT / "params.yaml"), changes))
    shutil.copyfile(ROOT / "mixtures.yaml", folder / "mixtures.yaml")
    with contextlib.chdir(folder):
        data.main(params.load())


@cache
def untrained(folder: Path, name: str, *settings: tuple[str, Any]) -> dict[str, Any]:
    """The metrics that stage mog_evaluate computes for a method before its first training step.

    Args:
        folder: written by `small_world`.
        name: of the method.
        settings: dotted keys of params.yaml with changed values, as in a cell of a study.
    """
    raw = params.read(folder / "params.yaml")
    for key, value in settings:
        *blocks, last = key.split(".")
        block = raw
        for part in blocks:
            block = block[part]
        block[last] = value
    changed = folder / "changed.yaml"
    files.write_json(changed, raw)
    loaded = params.load(changed)
    arguments, train = configured(loaded, name)
    torch.manual_seed(seeding.stream(loaded, "mog.init"))
    with contextlib.chdir(folder):
        box = setup.box(setup.read())
    method = build(name, Points(copies=loaded.seeds, box=box), arguments)
    models = folder / "models/mog"
    files.write_tensors(models / f"{name}.safetensors", method.state_dict())
    first = {key: value[:1] for key, value in method.state_dict().items()}
    files.write_tensors(models / f"{name}.snapshots.safetensors", {**first, "snapshot_steps": torch.tensor([0])})
    card.write(models / f"{name}.json", card.Card(seed=loaded.seed, seeds=loaded.seeds, settings=arguments, train=train))
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    try:
        with contextlib.chdir(folder):
            evaluate.main(loaded, name)
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(mode)
    return files.read_json(folder / f"reports/metrics/mog/{name}.json")
