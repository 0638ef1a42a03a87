"""Stage mog_figures@METHOD: the energy landscape of a method as a picture and as animations.

Writes reports/figures/mog/METHOD/landscape.png and, to reports/animations/mog/METHOD, `training.gif`, the landscape over
training, and `walk.gif`: the reference point of a joint embedding moving through the data, or the sampler's particles of a
score-based method. All show the first seed.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from stages.config.params import Params
from stages.pipeline import artifacts, card, files, runner
from stages.pipeline.concurrent import concurrently
from stages.plots import animation, landscape
from stages.plots.canvas import write_gif, write_png
from stages.plots.fields import parse
from stages.plots.landscape import DEPTH, Grid

PARTICLES = 600
"""Particles in `walk.gif`."""


def caption(name: str, settings: Mapping[str, Any], width: int) -> str:
    """The method and its params, in lines of at most `width` characters."""
    flat = []
    for key, value in settings.items():
        flat += [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else [f"{key} {value}"]
    return "\n".join([name, *textwrap.wrap(", ".join(flat), width)])


def main(_: Params, name: str) -> None:
    """Draw the method called `name` from its fields."""
    shown = parse(files.read_arrays(artifacts.fields("mog", name)))
    points = files.read_arrays(artifacts.data("mog", "test"))["x"]
    folder, animations = artifacts.figures("mog", name), artifacts.animations("mog", name)
    settings = card.read(artifacts.card(name)).settings
    long, short = caption(name, settings, 64), caption(name, settings, 44)
    grid, energy = Grid(x=shown.grid_x, y=shown.grid_y), shown.energy[0]
    limits, unit = (
        ((shown.lowest, shown.lowest + DEPTH), "energy, nats") if shown.score else ((-1.0, 1.0), "−cos to the reference point")
    )

    def picture() -> None:
        if shown.score:
            drawn = landscape.score(grid, energy, shown.log_density, shown.score.learned[0], points, long)
        else:
            x, y = files.read_json(artifacts.PROTOCOL)["evaluation"]["reference"]
            drawn = landscape.joint_embedding(grid, energy, points, (x, y), long)
        write_png(folder / "landscape.png", drawn)

    def walk() -> None:
        if shown.score:
            particles = shown.score.particles[:, :PARTICLES]
            frames = animation.particles(grid, energy, particles, shown.score.particle_steps, limits, short)
        elif shown.embedding:
            frames = animation.walk(grid, shown.embedding.walk_energy, shown.embedding.walk, points, short)
        else:
            return
        write_gif(animations / "walk.gif", frames, seconds=4)

    def formation() -> None:
        frames = animation.training(grid, shown.snapshot_energy, shown.steps, limits, short, unit)
        write_gif(animations / "training.gif", frames, seconds=6)

    concurrently(formation, walk, picture)


if __name__ == "__main__":
    runner.run(main, threads=1)
