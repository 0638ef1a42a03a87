"""Stage mog_evaluate@METHOD: the learned field against the truth.

Writes reports/metrics/mog/METHOD.json, the figures over seeds, and reports/fields/METHOD.npz, what the figures are drawn from:
`grid_x` (W,), `grid_y` (H,), `energy` (S, H, W) and `log_density` (H, W), the analytic one of what the method learns, p_σ for
a score method and p else. Where the method has an encoder: `embedding` (S, N, D) of the test points. Where it has a score:
`score` (S, H, W, 2), `score_true` (H, W, 2), `samples` (S, N, 2), and `energy` is the potential of the score.
For the animations, all of the first seed: `snapshot_steps` (T,) and `snapshot_energy` (T, H, W); `walk` (F, 2), the reference
point's walk, with `walk_energy` (F, H, W); `particles` (F, N, 2) after the sampler's `particle_steps` (F,).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from stages import runtime
from stages.methods import build
from stages.metrics import collapse, score_error
from stages.metrics.collapse import normalise
from stages.metrics.measured import figure
from stages.mog import measure, setting
from stages.mog.langevin import langevin
from stages.mog.mixture import Mixture
from stages.mog.tour import tour
from stages.mog.world import Points
from stages.nn.draws import FixedDraws
from stages.nn.method import Embeds, Predicts, Scores
from stages.nn.moments import log_spaced
from stages.params import Params

Array = NDArray[np.float64]
CHUNK = 4096
"""Points per forward pass: bounds the memory."""


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
        return build(self.name, Points(copies=copies), settings).to(self.device).eval()

    def write(self) -> None:
        """Measure every group that applies and write both files."""
        metrics: dict[str, Any] = {"heldout_loss": figure(self.heldout_loss())}
        fields: dict[str, Any] = {"grid_x": self.grid_x, "grid_y": self.grid_y, "snapshot_steps": self.steps}
        for protocol, group in ((Embeds, self.embedding), (Predicts, self.conditional), (Scores, self.score)):
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
        _, train = self.params.method(self.name)
        x = torch.from_numpy(self.test["x"]).to(self.device)
        noise, visible = (torch.from_numpy(self.views[key]).to(self.device) for key in ("noise", "visible"))
        size = min(train.batch_size, len(x))
        losses = []
        with torch.no_grad():
            for round_, order in enumerate(torch.from_numpy(self.views["order"]).to(self.device)):
                for start in range(0, len(x) - size + 1, size):
                    rows = order[start : start + size]
                    draws = FixedDraws(noise[round_][:, rows], visible[round_][rows])
                    losses.append(self.trained.loss(x[rows].expand(self.params.seeds, -1, -1), draws)["loss"])
        return torch.stack(losses).cpu().double().mean(0).numpy()

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
        metrics = {
            "collapse": collapse.report(z["test"], untrained["test"], bounds=self.params.collapse.model_dump()),
            **measure.spread(z["test"], z["second"]),
            "structure": measure.geometry(points["test"][few].astype(np.float64), z["test"][:, few], mog.neighbours),
            "clusters": {
                "knn_accuracy": figure(accuracy(seen(z["train"]), seen(z["test"]))),
                "knn_accuracy_raw": figure(accuracy(*raw)),
                "knn_accuracy_untrained": figure(accuracy(seen(untrained["train"]), seen(untrained["test"]))),
                "bayes_accuracy": figure(self.mixture.bayes_accuracy(self.test["x"], labels[1])),
            },
        }
        grid = normalise(apply(self.trained.embed, self.nodes, self.device))
        reference = normalise(apply(self.trained.embed, np.array([mog.reference]), self.device))
        walk = tour(self.mixture, mog.walk_points)
        walk_embedding = normalise(apply(self.trained.embed, walk, self.device))
        snapshots = normalise(apply(self.snapshots.embed, self.nodes, self.device))
        snapshot_reference = normalise(apply(self.snapshots.embed, np.array([mog.reference]), self.device))
        return metrics, {
            "energy": self._on_grid(-(grid @ reference.swapaxes(-1, -2))[..., 0]),
            "log_density": self._on_grid(self.mixture.log_density(self.nodes)),
            "embedding": z["test"],
            "snapshot_energy": self._on_grid(-(snapshots @ snapshot_reference.swapaxes(-1, -2))[..., 0]),
            "walk": walk,
            "walk_energy": self._on_grid(-(walk_embedding[0] @ grid[0].T)),
        }

    def conditional(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Figures of a method that predicts from one coordinate."""
        x = self.test["x"]
        predicted = []
        for hidden in (0, 1):
            visible = torch.ones(2, device=self.device)
            visible[hidden] = 0
            predicted.append(apply(lambda p, v=visible: self.trained.predict(p, v.expand(p.shape)), x, self.device))
        index = apply(self.trained.embed, self.train["x"], self.device)
        train, test = self.train["x"].astype(np.float64), x.astype(np.float64)
        k = self.params.mog.readout_neighbours
        return {"conditional": measure.conditional(self.mixture, train, index, test, predicted, k)}, {}

    def score(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Figures and fields of a score method, and its samples beside those that the analytic score gives."""
        density = self.mixture.smoothed(self.trained.sigma)

        def learned(x: Array) -> Array:
            return apply(self.trained.score, x, self.device)

        spacing = (self.grid_x[1] - self.grid_x[0], self.grid_y[1] - self.grid_y[0], self.trained.sigma)
        score = self._on_grid(learned(self.nodes), 2)
        energy = score_error.potential(score, *spacing)
        snapshots = self._on_grid(apply(self.snapshots.score, self.nodes, self.device), 2)
        moments = log_spaced(self.params.langevin.steps, self.params.langevin.frames)
        samples, particles = self._sample(learned, moments)
        control, _ = self._sample(density.score, [])
        metrics = {
            "score": {
                **measure.score(density, learned, self.params.mog.score_points, self.rng),
                **measure.energy(density, energy, self.grid_x, self.grid_y),
            },
            "sampling": {
                "langevin": self._quality(density, samples),
                "control_langevin": self._quality(density, control),
            },
        }
        return metrics, {
            "energy": energy,
            "log_density": self._on_grid(density.log_density(self.nodes)),
            "score": score,
            "score_true": self._on_grid(density.score(self.nodes), 2),
            "samples": samples,
            "snapshot_energy": score_error.potential(snapshots, *spacing),
            "particles": particles[:, 0],
            "particle_steps": np.array(moments),
        }

    def _sample(self, score: Any, moments: list[int]) -> tuple[Array, Array]:
        """Samples by a score; the learned and the analytic one get the same start and the same noise."""
        rng = np.random.default_rng(runtime.stream(self.params, "mog.langevin"))
        settings, seeds = self.params.langevin, self.params.seeds
        start = setting.uniform_in_box(self.params.mog, seeds * settings.particles, rng).reshape(seeds, -1, 2)
        return langevin(score, start, step_size=settings.step_size, steps=settings.steps, moments=moments, rng=rng)

    def _quality(self, density: Mixture, samples: Array) -> dict[str, Any]:
        return measure.sample_quality(density, samples, np.random.default_rng(runtime.stream(self.params, "mog.exact")))

    def _on_grid(self, values: Array, vector: int = 0) -> Array:
        shape = (len(self.grid_y), len(self.grid_x)) + ((vector,) if vector else ())
        return values.reshape(*values.shape[: values.ndim - 1 - bool(vector)], *shape)


def apply(function: Any, x: NDArray[Any], device: torch.device) -> Array:
    """A network's function at points (N, 2), or (S, N, 2) with points of their own for each copy, as (S, N, ...)."""
    with torch.inference_mode():
        chunks = torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device).split(CHUNK, dim=-2)
        values: Tensor = torch.cat([function(chunk) for chunk in chunks], -2)
    return values.cpu().double().numpy()


if __name__ == "__main__":
    runtime.run(main)
