"""Stage mog_evaluate@METHOD: evaluate a method on the mixture against the analytic truth.

Writes reports/metrics/mog/METHOD.json, the metrics over seeds; and, for points in the plane, the data of the page,
reports/page_data/mog/METHOD.js and METHOD.details.js (evaluation/page_data.py), and the arrays of the figures,
reports/fields/METHOD.npz:

- `grid_x` (W,), `grid_y` (H,), `energy` (S, H, W) and `log_density` (H, W), that of p_σ for a score-based method, else of p;
- with an encoder: `embedding` (S, N, D) of the test points, and `embedding_untrained` (N, D); `walk` (F, 2), the path of the
  reference point, and `walk_energy` (F, H, W); `snapshot_variance_ratio` and `snapshot_normalised_std` (T,), the collapse over
  training; `jepa_score` and `jepa_score_untrained` (N,), with `jepa_score_log_density` (N,), log p of the test points;
- with a score: `sigma` (), the noise level of p_σ; `score` (S, H, W, 2), `score_true` (H, W, 2), `samples` (S, N, 2),
  `mode_weights` and `mode_weights_control` (S, K); `particles` (F, N, 2) at the sampler's steps `particle_steps` (F,) and noise
  levels `particle_sigmas` (F,). `energy` is the method's own, else the potential of the score;
- with a noise schedule: `level_sigmas` (L,), and at each of them `level_energy` and `level_log_density` (L, H, W),
  `level_score` and `level_score_true` (L, H, W, 2);
- with a critic: `critic_true` and `critic_learned` (P,), PMI and critic of pairs of views, centred for each first view;
- with a predictor: `conditional_axis` (C,) with `conditional_true`, `conditional_density` (C,), `conditional_mean` and
  `conditional_point` (1,), the conditional of x₀ at x₁ = `conditional_seen`;
- `snapshot_steps` (T,) and `snapshot_energy` (T, H, W), over training.

Arrays without a seed dimension (S) are of the first seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.config.params import Params
from stages.metrics.summary import over_seeds
from stages.mog.evaluation import page_data
from stages.mog.evaluation.conditionals import evaluate_conditionals
from stages.mog.evaluation.critics import evaluate_critic
from stages.mog.evaluation.embeddings import evaluate_embeddings
from stages.mog.evaluation.jacobians import evaluate_jacobian
from stages.mog.evaluation.likelihoods import evaluate_density, evaluate_flow
from stages.mog.evaluation.model import Array, EvaluatedModel
from stages.mog.evaluation.scores import evaluate_scores
from stages.mog.evaluation.spectra import evaluate_spectrum
from stages.nn.method import HasCritic, HasEncoder, HasFlow, HasLogLikelihood, HasPredictor, HasScore
from stages.nn.noise import FixedNoise
from stages.pipeline import artifacts, files, page_script, runner

ANCHORS = 128
"""Points in a batch of `batch_dependence`; each point in turn is also repeated to a whole batch."""
EVALUATIONS = (
    (HasEncoder, evaluate_embeddings),
    (HasEncoder, evaluate_spectrum),
    (HasEncoder, evaluate_jacobian),
    (HasPredictor, evaluate_conditionals),
    (HasScore, evaluate_scores),
    (HasLogLikelihood, evaluate_density),
    (HasFlow, evaluate_flow),
    (HasCritic, evaluate_critic),
)
"""Protocols that a method may satisfy, and the evaluation of each."""
BEYOND_THE_PLANE = (HasScore, HasFlow, HasCritic)
"""Protocols that are evaluated in any dimension; there the stage writes metrics only."""


def main(_: Params, name: str) -> None:
    """Evaluate the method called `name` and write all files."""
    model = EvaluatedModel(name)
    metrics: dict[str, Any] = {
        "heldout_loss": over_seeds(heldout_loss(model)),
        "batch_dependence": over_seeds(batch_dependence(model)),
    }
    fields: dict[str, Any] = {"grid_x": model.grid_x, "grid_y": model.grid_y, "snapshot_steps": model.steps}
    for protocol, evaluate in EVALUATIONS:
        if isinstance(model.trained, protocol) and (model.plane or protocol in BEYOND_THE_PLANE):
            group, arrays = evaluate(model)
            metrics |= group
            fields |= arrays
    files.write_json(artifacts.metrics("mog", name), metrics)
    if not model.plane:
        return
    fields = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in fields.items()}
    files.write_arrays(artifacts.fields("mog", name), fields)
    page_script.write(artifacts.page_data("mog", name), f"mog/{name}", page_data.overview(model, fields))
    page_script.write(artifacts.page_data("mog", f"{name}.details"), f"mog/{name}/details", page_data.details(model, fields))


def heldout_loss(model: EvaluatedModel) -> Array:
    """The mean loss over all rounds of the held-out views, in batches as in training, (S,)."""
    losses: list[Tensor] = []
    with torch.no_grad():
        for x, noise, visible in model.heldout_batches():
            source = FixedNoise(noise, visible, seed=len(losses))
            losses.append(model.trained.loss(x.expand(model.seeds, -1, -1), source)["loss"])
    return torch.stack(losses).cpu().double().mean(0).numpy()


def batch_dependence(model: EvaluatedModel) -> Array:
    """The relative increase of the loss when a batch repeats one point instead of containing different ones, (S,).

        ( mean_i L(x_i, …, x_i) − mean_r L(x_{1+r}, …, x_{B+r}) ) / | mean_r L(x_{1+r}, …, x_{B+r}) |

    The noise is the same in all batches, and r runs over all cyclic shifts of the points, so that both means contain each point
    at each position, with its noise and, if a method stratifies noise levels over the batch, its level. Positive if the loss
    uses in-batch negatives, 0 if it is a sum over single points, negative if it attracts the points of a batch; −1 if a
    repeated point has zero loss.
    """
    x, noise, visible = next(model.heldout_batches())
    x, noise, visible = x[:ANCHORS], noise[:, :ANCHORS], visible[:ANCHORS]

    def loss(points: Tensor) -> Array:
        source = FixedNoise(noise, visible)
        value: Tensor = model.trained.loss(points.expand(model.seeds, -1, -1), source)["loss"]
        return value.cpu().double().numpy()

    with torch.no_grad():
        repeated = np.mean([loss(point.expand(x.shape)) for point in x], 0)
        different = np.mean([loss(x.roll(shift, 0)) for shift in range(len(x))], 0)
    return np.asarray((repeated - different) / np.abs(different))


if __name__ == "__main__":
    runner.run(main, threads=1)
