"""Stage mog_data: exact samples of the mixture, and the protocol and the views by which every method is evaluated.

Writes to data/mog/: `mixture.json`, the mixture and its box; `protocol.json`, how methods are measured; `train.npz` and
`test.npz` with `x` (N, 2) float32 and `component` (N,), the mode each point came from; and `views.npz` with R rounds of views
of the N test points, on which every method is evaluated: `noise` (R, 2, N, 2), standard normal draws that a method scales by
its own noise level (two, since contrastive views are both noisy); `visible` (R, N, 2), 1 for the coordinate that a masked view
shows; and `order` (R, N), in which the points form batches.
"""

from __future__ import annotations

import numpy as np

from stages.config.mixture import chosen
from stages.config.params import Params
from stages.mog.problem import protocol, setup
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params) -> None:
    """Sample each set from a random stream of its own."""
    described = chosen(params.mog)
    setup.write(described)
    protocol.write(params)
    mixture = setup.mixture(described)
    for name, count in (("train", params.mog.train_points), ("test", params.mog.test_points)):
        rng = np.random.default_rng(seeding.stream(params, f"mog.{name}"))
        x, component = mixture.sample(count, rng)
        files.write_arrays(artifacts.data("mog", name), {"x": x.astype(np.float32), "component": component})
    rng = np.random.default_rng(seeding.stream(params, "mog.views"))
    rounds, points = params.mog.heldout_rounds, params.mog.test_points
    noise = rng.standard_normal((rounds, 2, points, 2), dtype=np.float32)
    visible = np.eye(2, dtype=np.float32)[rng.integers(2, size=(rounds, points))]
    order = rng.permuted(np.tile(np.arange(points), (rounds, 1)), axis=1)
    files.write_arrays(artifacts.VIEWS, {"noise": noise, "visible": visible, "order": order})


if __name__ == "__main__":
    runner.run(main, threads=1)
