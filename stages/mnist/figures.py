"""Stage mnist_figures: figures and animations of the methods on the images.

Writes to reports/figures/mnist/: knn.png, robustness.png and few_labels.png, of all methods; perturbations.png, the fixed
perturbed images; in METHOD/, pca.png, confusion.png, mistakes.png, neighbours.png and robustness.png; and, for methods with a
decoder, reconstructions.png and severity.png in METHOD/reconstruction/. Writes to reports/animations/mnist/METHOD/: pca.gif,
the embeddings over training; and interpolation.gif, images decoded along a path through the embeddings.
"""

from __future__ import annotations

from functools import partial

from stages.config.params import Params
from stages.dag import leftovers
from stages.mnist.images.subset import kinds
from stages.pipeline import artifacts, files, runner
from stages.pipeline.concurrent import concurrently
from stages.plots import images
from stages.plots.canvas import in_colour, plain, write_gif, write_png
from stages.plots.colours import class_colours
from stages.results import image_figures


def main(params: Params) -> None:
    """Write all figures and animations of the images."""
    leftovers.remove()
    test = files.read_arrays(artifacts.data("mnist", "test"))
    perturbed = files.read_arrays(artifacts.PERTURBED)
    classes, dataset = [plain(name) for name in files.read_json(artifacts.CLASSES)["classes"]], plain(params.mnist.title)
    shown = params.mnist.snapshot_images
    metrics = {name: files.read_json(artifacts.metrics("mnist", name)) for name in params.mnist.methods}

    def of_method(name: str) -> None:
        fields = files.read_arrays(artifacts.fields("mnist", name))
        pictures = image_figures.of_method(
            name,
            metrics[name],
            fields,
            test,
            classes=classes,
            dataset=dataset,
            robustness_images=len(perturbed["rows"]),
            shown=shown,
        )
        for key, picture in pictures.items():
            write_png(artifacts.figures("mnist", name) / f"{key}.png", picture)
        frames = image_figures.over_training(name, fields, test["labels"][:shown], classes=classes, dataset=dataset)
        colours = class_colours(len(classes))
        write_gif(artifacts.animations("mnist", name) / "pca.gif", frames, seconds=5, accents=colours)

    def of_reconstructions(name: str) -> None:
        fields = files.read_arrays(artifacts.fields("mnist", f"{name}.reconstruction"))
        pictures = image_figures.of_reconstructions(name, metrics[name]["reconstruction"], fields, dataset=dataset)
        for key, picture in pictures.items():
            write_png(artifacts.figures("mnist", name) / "reconstruction" / f"{key}.png", picture)
        frames, path = image_figures.interpolation(name, fields, classes), artifacts.animations("mnist", name)
        write_gif(path / "interpolation.gif", frames, seconds=8, own_colours=in_colour(fields["interpolation"]))

    def of_all() -> None:
        first, folder = next(iter(metrics.values())), artifacts.figures("mnist")
        titles = {name: image_figures.of_shown(name) for name in metrics}
        write_png(
            folder / "knn.png",
            image_figures.knn(
                metrics,
                test=test["images"],
                dataset=dataset,
                neighbours=params.mnist.evaluation.neighbours,
            ),
        )
        robust = image_figures.robustness(metrics, len(perturbed["rows"]))
        write_png(folder / "robustness.png", robust)
        # The untrained encoders have the same weights and differ only in the normalisation of embeddings: one is shown.
        few_labels = [(titles[name], m["few_labels"]) for name, m in metrics.items()]
        baselines = {image_figures.UNTRAINED: "untrained", image_figures.RAW: "raw_pixels"}
        few_labels += [(label, first[key]["few_labels"]) for label, key in baselines.items()]
        write_png(folder / "few_labels.png", images.few_labels(few_labels, dataset))
        strengths = params.mnist.evaluation.strengths
        sheet = image_figures.contact_sheet(test["images"], perturbed, kinds(perturbed), strengths, dataset=dataset)
        write_png(folder / "perturbations.png", sheet)

    concurrently(
        *(partial(of_method, name) for name in params.mnist.methods),
        *(partial(of_reconstructions, name) for name in params.mnist_reconstruct.methods),
        of_all,
    )


if __name__ == "__main__":
    runner.run(main, threads=1)
