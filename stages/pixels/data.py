"""Stage pixels_data: fit a mixture of Gaussians to the images that are not held out.

Writes data/pixels/mixture.npz with `weights` (K,), `means` (K, p), `covariances` (K, p, p), `basis` (p, d), `noise` () and
`centre` (d,): see problem/mixture.py.
"""

from __future__ import annotations

from stages.config.params import Params
from stages.mnist.images.subset import held_out
from stages.pipeline import artifacts, files, runner, seeding
from stages.pixels.problem import mixture
from stages.pixels.problem.paths import MIXTURE


def main(params: Params) -> None:
    """Fit and write the mixture."""
    images = files.read_arrays(artifacts.data("mnist", "train"))["images"]
    images = images[: len(images) - held_out(len(images), params.mnist.validation_images)]
    seed = seeding.stream(params, "pixels.mixture")
    images = images[: params.pixels.fitted_images]
    found = mixture.fit(images, modes=params.pixels.modes, components=params.pixels.components, seed=seed)
    files.write_arrays(MIXTURE, found)


if __name__ == "__main__":
    runner.run(main, threads=1)
