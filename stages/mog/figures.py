"""Stage mog_figures@METHOD: the energy landscape of a method as a picture and as animations.

Writes to reports/figures/mog/METHOD: `landscape.png`; `training.gif`, the landscape over training; for an encoder
`embedding.png`, the embedding space before and after training; for a noise schedule `noise_levels.png`, energy and score at
several noise levels. Writes reports/animations/mog/METHOD/walk.gif: the reference point of a joint embedding moving through the
data, or the sampler's particles of a score-based method. All show the first seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.config.params import Params
from stages.pipeline import artifacts, files, runner
from stages.pipeline.concurrent import concurrently
from stages.pipeline.descriptions import describe
from stages.plots import animation, embedding_space, landscape
from stages.plots.canvas import write_gif, write_png
from stages.plots.colours import method_colour
from stages.plots.comparison import Shown
from stages.plots.fields import Fields, NoiseLevels, Score, parse
from stages.plots.landscape import COSINE, NATS, Grid

Array = NDArray[Any]
PARTICLES = 600
"""Particles in the animation and in the picture of the noise levels."""
LEVELS = 5
"""Noise levels in the picture."""


def main(_: Params, name: str) -> None:
    """Draw the method called `name` from its fields."""
    fields = parse(files.read_arrays(artifacts.fields("mog", name)))
    test = files.read_arrays(artifacts.data("mog", "test"))
    protocol = files.read_json(artifacts.PROTOCOL)
    folder, animations = artifacts.figures("mog", name), artifacts.animations("mog", name)
    grid, points, title = Grid(x=fields.grid_x, y=fields.grid_y), test["x"], describe(name).title
    scale, reference = (NATS, None) if fields.score else (COSINE, tuple(protocol["evaluation"]["reference"]))
    energy = fields.relative(fields.energy[0])
    collapsed = fields.embedding is not None and fields.embedding.collapsed(protocol["collapse"])

    def picture() -> None:
        if fields.score:
            drawn = landscape.score(
                grid,
                (energy, fields.relative(-fields.log_density)),
                (fields.score.learned[0], fields.score.true),
                points,
                f"{title}\nlearned, first seed",
                f"truth: −log p{noise_of_target(fields.score)}",
            )
        else:
            heading = f"{title}\nenergy with respect to the reference point, first seed"
            drawn = landscape.joint_embedding(grid, energy, points, reference or (0, 0), heading, collapsed=collapsed)
        write_png(folder / "landscape.png", drawn)

    def spaces() -> None:
        if fields.embedding:
            embeddings = (fields.embedding.untrained, fields.embedding.test[0])
            method = Shown(title, method_colour(name))
            drawn = embedding_space.of_method(embeddings, test["component"], method, collapsed=collapsed)
            write_png(folder / "embedding.png", drawn)

    def levels() -> None:
        if fields.score and fields.levels:
            write_png(folder / "noise_levels.png", _noise_levels(grid, fields, fields.levels, fields.score, title))

    def walk() -> None:
        if fields.score:
            particles = fields.score.particles[:, :PARTICLES]
            energies = behind_particles(fields, fields.score, energy)
            steps, sigmas = fields.score.particle_steps, fields.score.particle_sigmas
            frames = animation.particles(grid, energies, particles, steps, sigmas, f"{title}:\nparticles of the sampler")
        elif fields.embedding:
            heading = f"{title}:\nthe energy follows the reference point"
            frames = animation.walk(grid, fields.embedding.walk_energy, fields.embedding.walk, points, heading)
        else:
            return
        write_gif(animations / "walk.gif", frames, seconds=4)

    def formation() -> None:
        energies = fields.relative(fields.snapshot_energy)
        heading = f"{title}:\nthe landscape over training"
        frames = animation.training(grid, energies, fields.steps, scale, points, heading, reference)
        write_gif(folder / "training.gif", frames, seconds=6)

    concurrently(formation, walk, picture, spaces, levels)


def noise_of_target(score: Score) -> str:
    """The noise level of the density that a method targets, for its title."""
    return f" at σ = {score.sigma:g}" if score.sigma else ""


def behind_particles(fields: Fields, score: Score, energy: Array) -> Array:
    """The energy in which the particles move in each frame (F, H, W): that at their noise level if there are several."""
    levels = fields.levels
    if levels is None:
        return np.broadcast_to(energy, (len(score.particle_steps), *energy.shape))
    nearest = np.abs(np.log(score.particle_sigmas[:, None] / levels.sigmas)).argmin(-1)
    return np.asarray(energies_of_levels(fields, levels)[0][nearest])


def energies_of_levels(fields: Fields, levels: NoiseLevels) -> tuple[Array, Array]:
    """The learned and the true energy at each noise level (L, H, W), both above the lowest true one at that level.

    Learned energies are normalised on the grid, and so is the truth here: smoothed by a large σ, it lies partly outside.
    """
    true = -levels.log_density.astype(np.float64)
    cell = (fields.grid_x[1] - fields.grid_x[0]) * (fields.grid_y[1] - fields.grid_y[0])
    true += np.log(np.exp(-true).sum((1, 2), keepdims=True) * cell)
    lowest = true.min((1, 2), keepdims=True)
    return levels.energy - lowest, true - lowest


def _noise_levels(grid: Grid, fields: Fields, levels: NoiseLevels, score: Score, title: str) -> Figure:
    """The picture of some noise levels, from the largest to the smallest, with the particles at the end of each.

    The particles are those of the nearest recorded level, the last frame of it.
    """
    chosen = np.linspace(0, len(levels.sigmas) - 1, min(LEVELS, len(levels.sigmas))).round().astype(int)
    learned, true = energies_of_levels(fields, levels)
    shown = [(float(levels.sigmas[k]), learned[k], levels.learned[k], true[k], levels.true[k]) for k in chosen]
    apart = abs(np.log(score.particle_sigmas) - np.log(levels.sigmas[chosen])[:, None])
    last = score.particle_sigmas.size - 1 - apart[:, ::-1].argmin(1)
    particles = [score.particles[frame, :PARTICLES] for frame in last]
    heading = f"{title}: energy, score and particles at {len(chosen)} of {len(levels.sigmas)} noise levels, first seed"
    return landscape.noise_levels(grid, shown, particles, heading)


if __name__ == "__main__":
    runner.run(main, threads=1)
