"""Stage mog_evaluate@METHOD: the learned field against the truth.

Writes reports/metrics/mog/METHOD.json, the figures over seeds, and reports/fields/METHOD.npz, what the figures are drawn from:
`grid_x` (W,), `grid_y` (H,), `energy` (S, H, W) and `log_density` (H, W), the analytic one of what the method learns, p_σ for a
score method and p else. Where the method has an encoder: `embedding` (S, N, D) of the test points. Where it has a score:
`score` (S, H, W, 2), `score_true` (H, W, 2), `samples` (S, N, 2), and `energy` is the method's own, else the potential of the
score. For the animations, all of the first seed: `snapshot_steps` (T,) and `snapshot_energy` (T, H, W); `walk` (F, 2), a path
of the reference point, with `walk_energy` (F, H, W); `particles` (F, N, 2) after the sampler's `particle_steps` (F,). For the
pictures that compare methods, of the first seed too: `snapshot_variance_ratio` and `snapshot_normalised_std` (T,), the collapse
over training; `critic_true` and `critic_learned` (P,), mutual information and critic of pairs of views, less the mean of each
first view; `conditional_axis` (C,) with `conditional_true`, `conditional_density` (C,) and `conditional_mean`,
`conditional_point` (1,), the conditional of x₀ at x₁ = `conditional_seen`. Of all seeds:
`mode_weights` and `mode_weights_control` (S, K).

Also writes reports/atlas/mog/METHOD.js, the same for the page (evaluation/page_data.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.config.params import Params
from stages.metrics.summary import figure
from stages.mog.evaluation.conditionals import conditional
from stages.mog.evaluation.critics import critic
from stages.mog.evaluation.embeddings import embedding
from stages.mog.evaluation.model import Array, Subject
from stages.mog.evaluation.page_data import page_data
from stages.mog.evaluation.scores import score
from stages.nn.method import Criticises, Embeds, Predicts, Scores
from stages.nn.noise import FixedDraws
from stages.pipeline import files, page_script, runner

ANCHORS = 128
"""Points that take their turn as a whole batch."""


def main(_: Params, name: str) -> None:
    """Measure every group that applies to the method called `name`, and write all files."""
    subject = Subject(name)
    metrics: dict[str, Any] = {"heldout_loss": figure(heldout_loss(subject)), "batch_contrast": figure(batch_contrast(subject))}
    fields: dict[str, Any] = {"grid_x": subject.grid_x, "grid_y": subject.grid_y, "snapshot_steps": subject.steps}
    for protocol, group in ((Embeds, embedding), (Predicts, conditional), (Scores, score), (Criticises, critic)):
        if isinstance(subject.trained, protocol):
            figures, arrays = group(subject)
            metrics |= figures
            fields |= arrays
    files.write_json(Path(f"reports/metrics/mog/{name}.json"), metrics)
    fields = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in fields.items()}
    files.write_arrays(Path(f"reports/fields/{name}.npz"), fields)
    page_script.write(Path(f"reports/atlas/mog/{name}.js"), f"mog/{name}", page_data(subject, fields))


def heldout_loss(subject: Subject) -> Array:
    """The objective on all rounds of the fixed views of the test points, in batches as in training, (S,)."""
    losses: list[Tensor] = []
    with torch.no_grad():
        for x, noise, visible in subject.heldout_batches():
            draws = FixedDraws(noise, visible, seed=len(losses))
            losses.append(subject.trained.loss(x.expand(subject.seeds, -1, -1), draws)["loss"])
    return torch.stack(losses).cpu().double().mean(0).numpy()


def batch_contrast(subject: Subject) -> Array:
    """How much worse batches of one repeated point are than batches of different ones, as a part of the loss, (S,).

        ( mean_i L(x_i, …, x_i) − mean_r L(x_{1+r}, …, x_{B+r}) ) / | mean_r L(x_{1+r}, …, x_{B+r}) |

    The draws are the same each time, and r runs over all shifts of the points around the batch, so that both means have each
    point in each place, with its draws and, where a method spreads noise levels over the batch, its level. The figure is
    positive where the objective sets points of a batch against one another, 0 where each point stands for itself, and negative
    where it pulls them together: −1 where a repeated point loses nothing.
    """
    x, noise, visible = next(subject.heldout_batches())
    x, noise, visible = x[:ANCHORS], noise[:, :ANCHORS], visible[:ANCHORS]

    def loss(points: Tensor) -> Array:
        draws = FixedDraws(noise, visible)
        value: Tensor = subject.trained.loss(points.expand(subject.seeds, -1, -1), draws)["loss"]
        return value.cpu().double().numpy()

    with torch.no_grad():
        alike = np.mean([loss(point.expand(x.shape)) for point in x], 0)
        different = np.mean([loss(x.roll(shift, 0)) for shift in range(len(x))], 0)
    return np.asarray((alike - different) / np.abs(different))


if __name__ == "__main__":
    runner.run(main, threads=1)
