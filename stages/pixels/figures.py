"""Stage pixels_figures@METHOD: the figures and animations of a score-based method on images.

Writes to reports/figures/pixels/METHOD/ samples.png, score_errors.png and mode_weights.png, and to
reports/animations/pixels/METHOD/ mixture.gif and images.gif, the way from noise to samples.
"""

from __future__ import annotations

from stages.config.params import Params
from stages.pipeline import artifacts, files, runner
from stages.pipeline.descriptions import describe
from stages.pixels.problem.paths import animations, fields, figures
from stages.plots import pixels as pictures
from stages.plots.canvas import write_gif, write_png
from stages.plots.colours import method_colour


def main(params: Params, name: str) -> None:
    """Draw the figures of the method called `name`."""
    found = files.read_arrays(fields(name))
    test = files.read_arrays(artifacts.data("mnist", "test"))["images"]
    shape, title, colour = test.shape[1:], describe(name).title, method_colour(name)
    rows = {
        "mixture": found["mixture_exact"],
        "generated": found["mixture_samples"],
        params.mnist.title: found["images_test"],
        "generated ": found["images_samples"],
    }
    folder = figures(name)
    write_png(
        folder / "samples.png",
        pictures.samples(rows, shape, f"{title}: samples after training on the mixture and on the images"),
    )
    errors = (found["mixture_sigmas"], found["mixture_errors"], found["mixture_normal_errors"])
    write_png(
        folder / "score_errors.png",
        pictures.score_errors(*errors, f"{title}: error of the score at {test[0].size} pixels", colour),
    )
    weights = (found["mixture_mode_weights"], found["mixture_true_weights"])
    write_png(folder / "mode_weights.png", pictures.mode_weights(*weights, f"{title}: modes of the samples", colour))
    for data, what in (("mixture", "the mixture in pixel space"), ("images", params.mnist.title)):
        frames = pictures.denoising(found[f"{data}_walk"], found[f"{data}_levels"], shape, f"{title}: from noise to {what}")
        write_gif(animations(name) / f"{data}.gif", frames, seconds=6)


if __name__ == "__main__":
    runner.run(main, threads=1)
