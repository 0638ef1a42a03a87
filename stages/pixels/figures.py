"""Stage pixels_figures@METHOD: the figures and animations of a score-based method on images.

Writes to reports/figures/pixels/METHOD/ samples.png, score_errors.png and mode_weights.png, and to
reports/animations/pixels/METHOD/ mixture.gif and images.gif, the way from noise to samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.config.params import Params
from stages.pipeline import artifacts, files, runner
from stages.pipeline.descriptions import describe
from stages.pixels.problem.mixture import pixels
from stages.pixels.problem.paths import animations, fields, figures, shape_of
from stages.plots import pixels as pictures
from stages.plots.canvas import in_colour, plain, write_gif, write_png
from stages.plots.colours import method_colour

PARTS = ("within", "outside")
"""The parts of the scores: along the principal components, and outside of them."""


def main(params: Params, name: str) -> None:
    """Draw the figures of the method called `name`."""
    found = files.read_arrays(fields(name))
    test = files.read_arrays(artifacts.data("mnist", "test"))["images"]
    title, dataset, colour = describe(name).title, plain(params.mnist.title), method_colour(name)

    def images(key: str) -> Any:
        return pixels(found[key].astype(np.float64), found["centre"], shape_of(test))

    rows = {
        "mixture": images("mixture_exact"),
        "generated": images("mixture_samples"),
        dataset: images("images_test"),
        "generated ": images("images_samples"),
    }
    folder = figures(name)
    write_png(
        folder / "samples.png", pictures.samples(rows, f"{title}: samples after training on the mixture and on the images")
    )
    within, outside = (
        (found[f"mixture_errors_{part}_per_sigma"], found[f"mixture_errors_{part}_affine_per_sigma"]) for part in PARTS
    )
    errors = pictures.score_errors(
        found["mixture_sigmas"], within, outside, f"{title}: error of the score in {test[0].size} dimensions", colour
    )
    write_png(folder / "score_errors.png", errors)
    weights = (found["mixture_mode_weights"], found["mixture_mode_weights_true_score"], found["mixture_true_weights"])
    write_png(folder / "mode_weights.png", pictures.mode_weights(*weights, f"{title}: modes of the samples", colour))
    for data, what in (("mixture", "the mixture in pixel space"), ("images", dataset)):
        walk = images(f"{data}_walk")
        frames = pictures.denoising(walk, found[f"{data}_levels"], f"{title}: from noise to {what}")
        write_gif(animations(name) / f"{data}.gif", frames, seconds=6, own_colours=in_colour(walk))


if __name__ == "__main__":
    runner.run(main, threads=1)
