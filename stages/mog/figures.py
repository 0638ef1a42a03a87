"""Stage mog_figures@METHOD: the energy landscape, as picture and as animation.

Writes to reports/figures/mog/METHOD/: `landscape.png`; `training.gif`, how the landscape forms; and `walk.gif`: for a
joint-embedding method the reference point walking through the data, for a score method the sampler's particles walking into
the wells. All show the first seed.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from stages import digests, files, runtime
from stages.params import Params
from stages.plots import animation, landscape
from stages.plots.canvas import write_gif, write_png
from stages.plots.landscape import DEPTH, Grid

PARTICLES = 600
"""How many of the particles are shown."""


def caption(name: str, settings: dict[str, Any], width: int) -> str:
    """The method and its main params, as in params.yaml, in lines of at most `width` characters."""
    flat = []
    for key, value in settings.items():
        flat += [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else [f"{key} {value}"]
    return "\n".join([name, *textwrap.wrap(", ".join(flat), width)])


def main(params: Params, name: str) -> None:
    """Draw the method called `name` from its fields."""
    fields = files.read_arrays(Path(f"reports/fields/{name}.npz"))
    points = files.read_arrays(Path("data/mog/test.npz"))["x"]
    folder = Path(f"reports/figures/mog/{name}")
    settings, _ = params.method(name)
    title, short = caption(name, settings, 64), caption(name, settings, 44)
    grid = Grid(x=fields["grid_x"], y=fields["grid_y"])
    energy, steps = fields["energy"][0], fields["snapshot_steps"]
    if "score" in fields:
        lowest = float(-fields["log_density"].max())
        limits, unit = (lowest, lowest + DEPTH), "energy, nats"
        picture = landscape.score(grid, energy, fields["log_density"], fields["score"][0], points, title)
        moments = fields["particles"][:, :PARTICLES]
        walk = animation.particles(grid, energy, moments, fields["particle_steps"], limits, short)
    else:
        limits, unit = (-1.0, 1.0), "−cos to the reference point"
        x, y = params.mog.reference
        picture = landscape.joint_embedding(grid, energy, points, (x, y), title)
        walk = animation.walk(grid, fields["walk_energy"], fields["walk"], points, short)
    write_png(folder / "landscape.png", picture)
    write_gif(folder / "walk.gif", walk, seconds=4)
    formation = animation.training(grid, fields["snapshot_energy"], steps, limits, short, unit)
    write_gif(folder / "training.gif", formation, seconds=6)
    digests.write_of_folder(Path(f"reports/digests/mog/{name}.json"), folder)


if __name__ == "__main__":
    runtime.run(main)
