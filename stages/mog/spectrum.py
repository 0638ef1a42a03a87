"""Stage mog_spectrum: the operator of the positive pairs and its eigenfunctions, the truth of joint embeddings.

Writes reports/fields/spectrum.npz: `grid_x` (W,), `grid_y` (H,), `eigenvalues` (K,), `eigenfunctions` (K, H, W),
`log_density` (H, W), that of a view, and `view_noise` (), the s of both views, in units of x. K is 0 if the quadrature needs
too many nodes, as for little noise or modes that lie far apart.
"""

from __future__ import annotations

import numpy as np

from stages.config.params import Params
from stages.mog.problem import protocol, setup, spectrum
from stages.pipeline import artifacts, files, runner


def main(_: Params) -> None:
    """Write the file."""
    evaluation, described = protocol.read().evaluation, setup.require_plane(setup.read())
    mixture, noise = setup.mixture(described), evaluation.view_noise
    operator = spectrum.pair_operator(mixture, noise)
    grid_x, grid_y = setup.grid_axes(described, evaluation.grid)
    values, at_nodes = spectrum.leading(operator)
    points = np.stack(np.meshgrid(grid_x, grid_y), -1).reshape(-1, 2)
    functions = spectrum.extended(mixture, noise, operator, values, at_nodes, points)
    log_density = mixture.smoothed(noise).log_density(points)
    fields = {
        "grid_x": grid_x,
        "grid_y": grid_y,
        "eigenvalues": values,
        "eigenfunctions": functions.reshape(len(values), len(grid_y), len(grid_x)).astype(np.float32),
        "log_density": log_density.reshape(len(grid_y), len(grid_x)).astype(np.float32),
        "view_noise": np.array(noise),
    }
    files.write_arrays(artifacts.SPECTRUM, fields)


if __name__ == "__main__":
    runner.run(main, threads=1)
