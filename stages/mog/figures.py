"""Stage mog_figures@METHOD: the energy landscape, as picture and as animation.

Writes reports/figures/mog/METHOD/landscape.png and, to reports/animations/mog/METHOD/, `training.gif`, how the landscape forms,
and `walk.gif`: for a joint-embedding method the reference point walking through the data, for a score method the sampler's
particles walking into the wells. All show the first seed.
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
from stages.plots.landscape import DEPTH, Grid

PARTICLES = 600
"""How many of the particles are shown."""


def caption(name: str, settings: Mapping[str, Any], width: int) -> str:
    """The method and its main params, as in params.yaml, in lines of at most `width` characters."""
    flat = []
    for key, value in settings.items():
        flat += [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else [f"{key} {value}"]
    return "\n".join([name, *textwrap.wrap(", ".join(flat), width)])


def main(_: Params, name: str) -> None:
    """Draw the method called `name` from its fields."""
    fields = files.read_arrays(artifacts.fields("mog", name))
    points = files.read_arrays(artifacts.data("mog", "test"))["x"]
    folder, animations = artifacts.figures("mog", name), artifacts.animations("mog", name)
    settings = card.read(artifacts.card(name)).settings
    long, short = caption(name, settings, 64), caption(name, settings, 44)
    grid = Grid(x=fields["grid_x"], y=fields["grid_y"])
    energy, steps = fields["energy"][0], fields["snapshot_steps"]
    lowest = float(-fields["log_density"].max())
    limits, unit = (
        ((lowest, lowest + DEPTH), "energy, nats") if "score" in fields else ((-1.0, 1.0), "−cos to the reference point")
    )

    def picture() -> None:
        if "score" in fields:
            drawn = landscape.score(grid, energy, fields["log_density"], fields["score"][0], points, long)
        else:
            x, y = files.read_json(artifacts.PROTOCOL)["evaluation"]["reference"]
            drawn = landscape.joint_embedding(grid, energy, points, (x, y), long)
        write_png(folder / "landscape.png", drawn)

    def walk() -> None:
        if "score" in fields:
            snapshots = fields["particles"][:, :PARTICLES]
            frames = animation.particles(grid, energy, snapshots, fields["particle_steps"], limits, short)
        else:
            frames = animation.walk(grid, fields["walk_energy"], fields["walk"], points, short)
        write_gif(animations / "walk.gif", frames, seconds=4)

    def formation() -> None:
        frames = animation.training(grid, fields["snapshot_energy"], steps, limits, short, unit)
        write_gif(animations / "training.gif", frames, seconds=6)

    concurrently(formation, walk, picture)


if __name__ == "__main__":
    runner.run(main, threads=1)
