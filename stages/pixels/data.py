"""Stage pixels_data: fit a mixture of Gaussians to the images.

Writes data/pixels/mixture.npz with `weights` (K,), `means` (K, p), `covariances` (K, p, p), `basis` (p, d), `centre` (d,) and
`noise` (): see mixture.py.
"""

from __future__ import annotations

from stages.config.params import Params
from stages.core.errors import UserError
from stages.pipeline import artifacts, files, runner, seeding
from stages.pixels.problem import mixture
from stages.pixels.problem.paths import MIXTURE


def main(params: Params) -> None:
    """Fit and write the mixture."""
    pixels = params.pixels
    images = files.read_arrays(artifacts.data("mnist", "train"))["images"][: pixels.fitted_images]
    x = mixture.values(images)
    if pixels.components >= x.shape[1]:
        raise UserError(f"params.yaml: pixels.components: {pixels.components} is not accepted: images have {x.shape[1]} values")
    seed = seeding.stream(params, "pixels.mixture")
    files.write_arrays(MIXTURE, mixture.fit(x, modes=pixels.modes, components=pixels.components, seed=seed))


if __name__ == "__main__":
    runner.run(main, threads=1)
