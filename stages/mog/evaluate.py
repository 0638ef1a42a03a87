"""Stage mog_evaluate@METHOD: the learned field against the truth.

Writes reports/metrics/mog/METHOD.json, the figures over seeds, and reports/fields/METHOD.npz, what the figures are drawn from:
`grid_x` (W,), `grid_y` (H,), `energy` (S, H, W) and `log_density` (H, W), the analytic one of what the method learns, p_σ for
a score method and p else. Where the method has an encoder: `embedding` (S, N, D) of the test points. Where it has a score:
`score` (S, H, W, 2), `score_true` (H, W, 2), `samples` (S, N, 2), and `energy` is the potential of the score.
For the animations, all of the first seed: `snapshot_steps` (T,) and `snapshot_energy` (T, H, W); `walk` (F, 2), the reference
point's walk, with `walk_energy` (F, H, W); `particles` (F, N, 2) after the sampler's `particle_steps` (F,).
For the pictures that compare methods, of the first seed too: `snapshot_variance_ratio` and `snapshot_normalised_std` (T,), the
collapse over training; `critic_true` and `critic_learned` (P,), mutual information and critic of pairs of views, less the mean
of each first view; `conditional_axis` (C,) with `conditional_true`, `conditional_density` (C,) and `conditional_mean`,
`conditional_point` (1,), the conditional of x₀ at x₁ = `conditional_seen`. Of all seeds: `mode_weights` and
`mode_weights_control` (S, K).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from stages import runtime
from stages.methods import build
from stages.metrics import collapse, score_error, structure
from stages.metrics.collapse import normalise
from stages.metrics.measured import figure
from stages.mog import measure, setting
from stages.mog.langevin import annealed_langevin, langevin
from stages.mog.mixture import Mixture
from stages.mog.tour import tour
from stages.mog.world import Points
from stages.nn.draws import FixedDraws
from stages.nn.info_nce import info_nce
from stages.nn.method import Anneals, Criticises, Densities, Embeds, Energises, Predicts, Scores
from stages.nn.moments import log_spaced
from stages.params import Params

Array = NDArray[np.float64]
CHUNK = 4096
"""Points per forward pass: bounds the memory."""
ANCHORS = 128
"""Points that take their turn as a whole batch."""
CURVE = 400
"""Points along a conditional density."""
PAIRS = 200
"""Views of which all pairs are kept for the scatter of a critic."""
KEPT = 2000
"""Samples of an annealed run that are kept in the fields."""


def main(params: Params, name: str) -> None:
    """Measure the method called `name`."""
    Evaluation(params, name).write()


class Evaluation:
    """The method at three moments (untrained, trained, snapshots of the first seed), and the points it is measured on."""

    def __init__(self, params: Params, name: str) -> None:
        self.params = params
        self.name = name
        runtime.set_up_torch(params)
        self.device = runtime.device(params)
        self.mixture = setting.mixture(params.mog)
        self.rng = np.random.default_rng(runtime.stream(params, "mog.evaluate"))
        self.train = runtime.read_arrays(Path("data/mog/train.npz"))
        self.test = runtime.read_arrays(Path("data/mog/test.npz"))
        self.views = runtime.read_arrays(Path("data/mog/views.npz"))
        self.untrained = self._method(params.seeds)
        self.trained = self._method(params.seeds)
        self.trained.load_state_dict(load_file(f"models/mog/{name}.safetensors"))
        snapshots = load_file(f"models/mog/{name}.snapshots.safetensors")
        self.steps = snapshots.pop("snapshot_steps").numpy()
        self.snapshots = self._method(len(self.steps))
        self.snapshots.load_state_dict(snapshots)
        self.grid_x, self.grid_y = setting.grid_axes(params.mog)
        self.nodes = np.stack(np.meshgrid(self.grid_x, self.grid_y), -1).reshape(-1, 2)

    def _method(self, copies: int) -> Any:
        settings, _ = self.params.method(self.name)
        torch.manual_seed(runtime.stream(self.params, "mog.init"))
        return build(self.name, Points(copies=copies, box=setting.box(self.params.mog)), settings).to(self.device).eval()

    def write(self) -> None:
        """Measure every group that applies and write both files."""
        metrics: dict[str, Any] = {"heldout_loss": figure(self.heldout_loss()), "batch_contrast": figure(self.batch_contrast())}
        fields: dict[str, Any] = {"grid_x": self.grid_x, "grid_y": self.grid_y, "snapshot_steps": self.steps}
        groups = (
            (Embeds, self.embedding),
            (Predicts, self.conditional),
            (Scores, self.score),
            (Criticises, self.critic),
        )
        for protocol, group in groups:
            if isinstance(self.trained, protocol):
                figures, arrays = group()
                metrics |= figures
                fields |= arrays
        runtime.write_json(Path(f"reports/metrics/mog/{self.name}.json"), metrics)
        runtime.write_arrays(
            Path(f"reports/fields/{self.name}.npz"),
            {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in fields.items()},
        )

    def heldout_loss(self) -> Array:
        """The objective on all rounds of the fixed views of the test points, in batches as in training, (S,)."""
        losses: list[Tensor] = []
        with torch.no_grad():
            for x, noise, visible in self.heldout_batches():
                draws = FixedDraws(noise, visible, seed=len(losses))
                losses.append(self.trained.loss(x.expand(self.params.seeds, -1, -1), draws)["loss"])
        return torch.stack(losses).cpu().double().mean(0).numpy()

    def batch_contrast(self) -> Array:
        """How much worse batches of one repeated point are than a batch of different ones, as a part of the loss, (S,).

            ( mean_i L(x_i, …, x_i) − L(x_1, …, x_B) ) / | L(x_1, …, x_B) |

        It is positive where the objective sets points of a batch against one another, 0 but for noise where each point stands
        for itself, and −1 where the objective pulls all points of a batch together.
        """
        x, noise, visible = next(self.heldout_batches())
        x, noise, visible = x[:ANCHORS], noise[:, :ANCHORS], visible[:ANCHORS]

        def loss(points: Tensor) -> Array:
            draws = FixedDraws(noise, visible)
            value: Tensor = self.trained.loss(points.expand(self.params.seeds, -1, -1), draws)["loss"]
            return value.cpu().double().numpy()

        with torch.no_grad():
            alike = np.mean([loss(point.expand(x.shape)) for point in x], 0)
            different = loss(x)
        return np.asarray((alike - different) / np.abs(different))

    def heldout_batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Batches of test points (B, 2) with their noise (2, B, 2) and their visible coordinates (B, 2)."""
        _, train = self.params.method(self.name)
        x = torch.from_numpy(self.test["x"]).to(self.device)
        noise, visible = (torch.from_numpy(self.views[key]).to(self.device) for key in ("noise", "visible"))
        size = min(train.batch_size, len(x))
        for round_, order in enumerate(torch.from_numpy(self.views["order"]).to(self.device)):
            for start in range(0, len(x) - size + 1, size):
                rows = order[start : start + size]
                yield x[rows], noise[round_][:, rows], visible[round_][rows]

    def embedding(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Figures and fields of a method with an encoder; its energy is minus the cosine to a reference point."""
        mog = self.params.mog
        points = {"train": self.train["x"], "test": self.test["x"]}
        points["second"] = points["test"] + mog.view_noise * self.views["noise"][0, 0]
        z = {key: apply(self.trained.embed, x, self.device) for key, x in points.items()}
        untrained = {key: apply(self.untrained.embed, x, self.device) for key, x in points.items()}
        labels = (self.train["component"], self.test["component"])

        def accuracy(train: Array, test: Array) -> list[float]:
            return measure.component_accuracy(train, labels[0], test, labels[1], mog.neighbours)

        def seen(embeddings: Array) -> Array:
            return normalise(embeddings) if self.trained.cosine else embeddings

        raw = [a.astype(np.float64)[None] for a in (points["train"], points["test"])]
        few = slice(mog.structure_points)

        def separation(embeddings: Array) -> list[float]:
            return [structure.silhouette(one[few], labels[1][few]) for one in embeddings]

        metrics = {
            "collapse": collapse.report(z["test"], untrained["test"], bounds=self.params.collapse.model_dump()),
            **measure.spread(z["test"], z["second"]),
            "structure": measure.geometry(points["test"][few].astype(np.float64), z["test"][:, few], mog.neighbours),
            "clusters": {
                "knn_accuracy": figure(accuracy(seen(z["train"]), seen(z["test"]))),
                "knn_accuracy_raw": figure(accuracy(*raw)),
                "silhouette": figure(separation(seen(z["test"]))),
                "silhouette_raw": figure(separation(raw[1])),
                "silhouette_untrained": figure(separation(seen(untrained["test"]))),
                "knn_accuracy_untrained": figure(accuracy(seen(untrained["train"]), seen(untrained["test"]))),
                "bayes_accuracy": figure(self.mixture.bayes_accuracy(self.test["x"], labels[1])),
            },
        }
        grid = normalise(apply(self.trained.embed, self.nodes, self.device))
        reference = normalise(apply(self.trained.embed, np.array([mog.reference]), self.device))
        walk = tour(self.mixture, mog.walk_points)
        walk_embedding = normalise(apply(self.trained.embed, walk, self.device))
        snapshots = normalise(apply(self.snapshots.embed, self.nodes, self.device))
        raw_snapshots = apply(self.snapshots.embed, points["test"], self.device)
        snapshot_reference = normalise(apply(self.snapshots.embed, np.array([mog.reference]), self.device))
        return metrics, {
            "energy": self._on_grid(-(grid @ reference.swapaxes(-1, -2))[..., 0]),
            "log_density": self._on_grid(self.mixture.log_density(self.nodes)),
            "embedding": z["test"],
            "snapshot_energy": self._on_grid(-(snapshots @ snapshot_reference.swapaxes(-1, -2))[..., 0]),
            "snapshot_variance_ratio": collapse.total_variance(raw_snapshots) / collapse.total_variance(raw_snapshots[:1]),
            "snapshot_normalised_std": collapse.normalised_std(raw_snapshots),
            "walk": walk,
            "walk_energy": self._on_grid(-(walk_embedding[0] @ grid[0].T)),
        }

    def conditional(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Figures of a method that predicts from one coordinate."""
        x = self.test["x"]
        predicted, log_density = [], []
        for hidden in (0, 1):
            visible = torch.ones(2, device=self.device)
            visible[hidden] = 0
            predicted.append(apply(lambda p, v=visible: self.trained.predict(p, v.expand(p.shape)), x, self.device))
            if isinstance(self.trained, Densities):
                log_density.append(values(lambda p, v=visible: self.trained.log_density(p, v.expand(p.shape)), x, self.device))
        index = apply(self.trained.embed, self.train["x"], self.device)
        train, test = self.train["x"].astype(np.float64), x.astype(np.float64)
        k = self.params.mog.readout_neighbours
        figures = measure.conditional(self.mixture, train, index, test, predicted, k)
        return {"conditional": figures | measure.likelihood(self.mixture, test, log_density)}, self._bimodal(train, index[0], k)

    def _bimodal(self, train: Array, index: Array, k: int) -> dict[str, Any]:
        """The conditional of x₀ where x₁ leaves most modes open: the truth, the first seed's prediction and density."""
        low, high = self.params.mog.mixture.box.x
        axis = np.linspace(low, high, CURVE)
        seen = self.mixture.most_ambiguous(1, setting.grid_axes(self.params.mog)[1])
        points = np.stack((axis, np.full(CURVE, seen)), -1)
        visible = torch.tensor([0.0, 1.0], device=self.device)
        predicted = apply(lambda p: self.trained.predict(p, visible.expand(p.shape)), points[:1], self.device)[0]
        fields = {
            "conditional_seen": np.array(seen),
            "conditional_axis": axis,
            "conditional_true": np.exp(self.mixture.conditional_log_density(0, points)),
            "conditional_mean": self.mixture.conditional_mean(0, np.array([seen])),
            "conditional_point": measure.read_out(train[:, 0], index, predicted, k),
        }
        if isinstance(self.trained, Densities):
            learned = values(lambda p: self.trained.log_density(p, visible.expand(p.shape)), points, self.device)[0]
            fields["conditional_density"] = np.exp(learned)
        return fields

    def critic(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Figures of a method that judges pairs, against the pointwise mutual information of its views."""
        settings, _ = self.params.method(self.name)
        second = settings["view"]["noise"]
        first = second if self.trained.both_noisy else 0.0

        def views(x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
            return (x + first * noise[1], x + second * noise[0])

        def truth(x: Tensor, other: Tensor) -> Array:
            a, b = x.cpu().double().numpy(), other.cpu().double().numpy()
            return self.mixture.mutual_information(a[:, None], b[None], first, second)

        def learned(x: Tensor, other: Tensor) -> Array:
            with torch.no_grad():
                return self.trained.critic(x, other).cpu().double().numpy()

        excess = []
        for x, noise, _ in self.heldout_batches():
            pair = views(x, noise)
            optimum = info_nce(torch.from_numpy(truth(*pair)))
            excess.append((info_nce(torch.from_numpy(learned(*pair))) - optimum).numpy())
        few = slice(self.params.mog.structure_points)
        x, noise = (torch.from_numpy(a).to(self.device) for a in (self.test["x"][few], self.views["noise"][0][:, few]))
        pair = views(x, noise)
        found, true = learned(*pair), truth(*pair)
        figures = measure.critic(found, true)
        few_true, kept = true[:PAIRS, :PAIRS], true[:PAIRS, :PAIRS] > measure.HOPELESS
        shown = {
            "critic_true": measure.centred(few_true, kept),
            "critic_learned": measure.centred(found[0, :PAIRS, :PAIRS], kept),
        }
        return {"critic": {**figures, "excess_loss": figure(np.mean(excess, 0))}}, shown

    def score(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Figures and fields of a score method, and its samples beside those that the analytic score gives."""
        density = self.mixture.smoothed(self.trained.sigma)

        def learned(x: Array) -> Array:
            return apply(self.trained.score, x, self.device)

        score = self._on_grid(learned(self.nodes), 2)
        energy = self._energy(self.trained)
        metrics: dict[str, Any] = {
            "score": {
                **measure.score(density, learned, self.params.mog.score_points, self.rng),
                **measure.energy(density, energy, self.grid_x, self.grid_y),
            },
        }
        fields = {
            "energy": energy,
            "log_density": self._on_grid(density.log_density(self.nodes)),
            "score": score,
            "score_true": self._on_grid(density.score(self.nodes), 2),
            "snapshot_energy": self._energy(self.snapshots),
        }
        sampled = self._anneal if isinstance(self.trained, Anneals) else self._langevin
        figures, arrays = sampled()
        if isinstance(self.trained, Anneals):
            metrics["score"]["per_sigma"] = self._per_sigma()
        return metrics | {"sampling": figures}, fields | arrays

    def _energy(self, method: Any) -> Array:
        """The energy on the grid, normalised there: the method's own, else the potential of its score."""
        dx, dy = self.grid_x[1] - self.grid_x[0], self.grid_y[1] - self.grid_y[0]
        if isinstance(method, Energises):
            energy = values(method.energy, self.nodes, self.device)
            return score_error.normalised_energy(self._on_grid(energy), dx, dy)
        score = self._on_grid(apply(method.score, self.nodes, self.device), 2)
        return score_error.potential(score, dx, dy, method.sigma)

    def _per_sigma(self) -> dict[str, Any]:
        """The score error on every rung of the ladder."""
        figures = {}
        for sigma in self.trained.sigmas:

            def learned(x: Array, sigma: float = sigma) -> Array:
                return apply(lambda p: self.trained.score_at(p, sigma), x, self.device)

            error = measure.score(self.mixture.smoothed(sigma), learned, self.params.mog.score_points, self.rng)
            figures[f"{sigma:.3g}"] = error["relative_fisher_error"]
        return figures

    def _langevin(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Langevin dynamics at the method's noise level, by the learned score and by the analytic one."""
        density = self.mixture.smoothed(self.trained.sigma)
        settings = self.params.langevin
        moments = log_spaced(settings.steps, settings.frames)

        def walk(score: Callable[[Array], Array], moments: list[int]) -> tuple[Array, Array]:
            start, rng = self._start(settings.particles)
            return langevin(score, start, step_size=settings.step_size, steps=settings.steps, moments=moments, rng=rng)

        samples, particles = walk(lambda x: apply(self.trained.score, x, self.device), moments)
        control, _ = walk(density.score, [])
        quality = {"langevin": self._quality(density, samples), "control_langevin": self._quality(density, control)}
        arrays = {"samples": samples, "particles": particles[:, 0], "particle_steps": np.array(moments)}
        return quality, arrays | self._weights(density, samples, control)

    def _weights(self, density: Mixture, samples: Array, control: Array) -> dict[str, Any]:
        """The share of each mode (S, K) among the samples and among those of the analytic score."""
        return {
            "mode_weights": density.responsibilities(samples).mean(1),
            "mode_weights_control": density.responsibilities(control).mean(1),
        }

    def _anneal(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Annealed Langevin dynamics down the method's ladder, by the learned scores and by the analytic ones."""
        settings, sigmas = self.params.annealed, self.trained.sigmas
        densities = {sigma: self.mixture.smoothed(sigma) for sigma in sigmas}
        total = settings.steps * len(sigmas)
        moments = np.linspace(0, total, min(settings.frames, total + 1)).round().astype(int).tolist()

        def walk(score: Callable[[Array, float], Array], moments: list[int]) -> tuple[Array, Array]:
            start, rng = self._start(settings.particles)
            return annealed_langevin(
                score, start, sigmas=sigmas, step_ratio=settings.step_ratio, steps=settings.steps, moments=moments, rng=rng
            )

        samples, particles = walk(lambda x, s: apply(lambda p: self.trained.score_at(p, s), x, self.device), moments)
        control, _ = walk(lambda x, s: densities[s].score(x), [])
        last = densities[sigmas[-1]]
        quality = {"annealed": self._quality(last, samples), "control_annealed": self._quality(last, control)}
        arrays = {"samples": samples[:, :KEPT], "particles": particles[:, 0, :KEPT], "particle_steps": np.array(moments)}
        return quality, arrays | self._weights(last, samples, control)

    def _start(self, count: int) -> tuple[Array, np.random.Generator]:
        """Particles (S, count, 2) uniform in the box, and the generator of their noise: the same for every score."""
        rng = np.random.default_rng(runtime.stream(self.params, "mog.langevin"))
        start = setting.uniform_in_box(self.params.mog, self.params.seeds * count, rng)
        return start.reshape(self.params.seeds, count, 2), rng

    def _quality(self, density: Mixture, samples: Array) -> dict[str, Any]:
        return measure.sample_quality(density, samples, np.random.default_rng(runtime.stream(self.params, "mog.exact")))

    def _on_grid(self, values: Array, vector: int = 0) -> Array:
        shape = (len(self.grid_y), len(self.grid_x)) + ((vector,) if vector else ())
        return values.reshape(*values.shape[: values.ndim - 1 - bool(vector)], *shape)


def apply(function: Any, x: NDArray[Any], device: torch.device) -> Array:
    """A network's function at points (N, 2), or (S, N, 2) with points of their own for each copy, as (S, N, ...)."""
    with torch.no_grad():  # not inference_mode: some scores are gradients
        chunks = torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device).split(CHUNK, dim=-2)
        values: Tensor = torch.cat([function(chunk) for chunk in chunks], -2)
    return values.cpu().double().numpy()


def values(function: Any, x: NDArray[Any], device: torch.device) -> Array:
    """The same for a function with one value per point, as (S, N)."""
    return apply(lambda points: function(points).unsqueeze(-1), x, device)[..., 0]


if __name__ == "__main__":
    runtime.run(main)
