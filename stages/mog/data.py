"""Stage mog_data: exact samples of the mixture, and the evaluation protocol and held-out views that all methods share.

Writes to data/mog/:

- `mixture.json`, the mixture and its box, and `protocol.json`, the evaluation protocol;
- `train.npz` and `test.npz` with the points `x` (N, d), float32, and `component` (N,), the mode of each point;
- `views.npz` with R rounds of held-out views of the N test points: standard normal `noise` (R, 2, N, d), which a method scales
  by its own noise level (two arrays, since both views of a contrastive method are noisy); `visible` (R, N, d), 0 for the
  hidden coordinate of a masked point, 1 for the others; and `order` (R, N), the order in which the points form batches.
"""

from __future__ import annotations

import numpy as np

from stages.config.mixture import chosen
from stages.config.params import Params
from stages.mog.problem import protocol, setup
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params) -> None:
    """Write all files; training points, test points and views have separate random streams."""
    described = chosen(params.mog)
    setup.write(described)
    protocol.write(params)
    mixture = setup.mixture(described)
    for name, count in (("train", params.mog.train_points), ("test", params.mog.test_points)):
        rng = np.random.default_rng(seeding.stream(params, f"mog.{name}"))
        x, component = mixture.sample(count, rng)
        files.write_arrays(artifacts.data("mog", name), {"x": x.astype(np.float32), "component": component})
    rng = np.random.default_rng(seeding.stream(params, "mog.views"))
    rounds, points, dim = params.mog.heldout_rounds, params.mog.test_points, mixture.means.shape[1]
    noise = rng.standard_normal((rounds, 2, points, dim), dtype=np.float32)
    one_hidden = 1 - np.eye(dim, dtype=np.float32)[::-1]
    visible = one_hidden[rng.integers(dim, size=(rounds, points))]
    order = rng.permuted(np.tile(np.arange(points), (rounds, 1)), axis=1)
    files.write_arrays(artifacts.VIEWS, {"noise": noise, "visible": visible, "order": order})


if __name__ == "__main__":
    runner.run(main, threads=1)
