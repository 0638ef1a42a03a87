"""Stage mnist_figures: draw the methods on the images, each by itself and side by side.

Writes to reports/figures/mnist/: robustness.png and few_labels.png, all methods; perturbations.png, the fixed perturbed sets;
and for each method METHOD/: pca.png, knn.png, confusion.png, mistakes.png, neighbours.png, robustness.png and, where it has a
decoder, reconstruction/: reconstructions.png and severity.png. Writes the animations to reports/animations/mnist/METHOD/:
pca.gif, over training, and interpolation.gif, from one image to the next through the embeddings.
"""

from __future__ import annotations

from functools import partial

from stages.config.params import Params
from stages.dag import leftovers
from stages.mnist.images.subset import kinds
from stages.pipeline import artifacts, files, runner
from stages.pipeline.concurrent import concurrently
from stages.plots import images
from stages.plots.canvas import write_gif, write_png
from stages.results import image_figures

RAW, UNTRAINED = "raw pixels", "untrained encoder"


def main(params: Params) -> None:
    """Draw every picture and animation of the images."""
    leftovers.remove()
    test = files.read_arrays(artifacts.data("mnist", "test"))
    perturbed = files.read_arrays(artifacts.PERTURBED)
    shown = params.mnist.snapshot_images
    metrics = {name: files.read_json(artifacts.metrics("mnist", name)) for name in params.mnist.methods}

    def of_method(name: str) -> None:
        fields = files.read_arrays(artifacts.fields("mnist", name))
        pictures = image_figures.of_method(
            name,
            metrics[name],
            fields,
            test,
            test_digest=params.mnist.chosen.digests["test_images"],
            neighbours=params.mnist.evaluation.neighbours,
            robustness_images=params.mnist.evaluation.robustness_images,
            shown=shown,
        )
        for key, picture in pictures.items():
            write_png(artifacts.figures("mnist", name) / f"{key}.png", picture)
        frames = image_figures.over_training(name, fields, test["labels"][:shown])
        write_gif(artifacts.animations("mnist", name) / "pca.gif", frames, seconds=5, accents=images.CLASS_COLOURS)

    def of_reconstructions(name: str) -> None:
        fields = files.read_arrays(artifacts.fields("mnist", f"{name}.reconstruction"))
        pictures = image_figures.of_reconstructions(name, metrics[name]["reconstruction"], fields)
        for key, picture in pictures.items():
            write_png(artifacts.figures("mnist", name) / "reconstruction" / f"{key}.png", picture)
        frames = image_figures.interpolation(name, fields)
        write_gif(artifacts.animations("mnist", name) / "interpolation.gif", frames, seconds=8)

    def of_all() -> None:
        first, folder = next(iter(metrics.values())), artifacts.figures("mnist")
        robust = {**metrics, RAW: first["raw_pixels"]}
        write_png(
            folder / "robustness.png",
            images.robustness_of_all(robust, params.mnist.evaluation.robustness_images),
        )
        # One untrained encoder stands for all: they differ in nothing but whether lengths are seen.
        few_labels = {**metrics, UNTRAINED: first["untrained"], RAW: first["raw_pixels"]}
        write_png(
            folder / "few_labels.png",
            images.few_labels({who: v["few_labels"] for who, v in few_labels.items()}),
        )
        strengths = params.mnist.evaluation.strengths
        sheet = image_figures.contact_sheet(test["images"], perturbed, kinds(perturbed), strengths)
        write_png(folder / "perturbations.png", sheet)

    concurrently(
        *(partial(of_method, name) for name in params.mnist.methods),
        *(partial(of_reconstructions, name) for name in params.mnist_reconstruct.methods),
        of_all,
    )


if __name__ == "__main__":
    runner.run(main, threads=1)
