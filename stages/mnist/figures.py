"""Stage mnist_figures@METHOD: what the embedding looks like and what it is worth.

Writes to reports/figures/mnist/METHOD/: pca.png and pca.gif (over training), knn.png, confusion.png, mistakes.png,
neighbours.png and robustness.png.
"""

from __future__ import annotations

from pathlib import Path

from stages import digests, files, runtime
from stages.goals import KNN
from stages.metrics import classification
from stages.params import Params
from stages.plots import images
from stages.plots.canvas import write_gif, write_png

FIGURES = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
CLASSES = 10


def main(params: Params, name: str) -> None:
    """Draw the method called `name` from its metrics and fields."""
    metrics = files.read_json(Path(f"reports/measured/mnist/{name}.json"))
    fields = files.read_arrays(Path(f"reports/fields/mnist/{name}.npz"))
    test = files.read_arrays(Path("data/mnist/test.npz"))
    digits, true, predicted = test["images"], test["labels"], fields["predicted"]
    labels = true[: params.mnist.snapshot_images]
    folder = Path(f"reports/figures/mnist/{name}")
    accuracy, clean, precision = (
        metrics[group][key]["mean"]
        for group, key in (("knn", "accuracy"), ("robustness_clean", "accuracy"), ("retrieval", "map"))
    )
    goal = KNN if params.mnist.dataset == "mnist" else None
    contestants = {name: "knn", "raw pixels": "knn_raw_pixels", "untrained encoder": "knn_untrained"}
    groups = {who: {f.replace("_", "\n"): metrics[key][f]["mean"] for f in FIGURES} for who, key in contestants.items()}
    robustness = {kind: {s: v["mean"] for s, v in group.items()} for kind, group in metrics["robustness"].items()}
    wrong = predicted != true
    on_test = f"{name}: k-NN on the test images"
    pictures = {
        "pca": images.pca(
            fields["pca"][-1], labels, f"{name}: the first {len(labels):,} test images on two principal components"
        ),
        "knn": images.dots(groups, f"{on_test}, k = {params.mnist.neighbours}", "score", goal),
        "confusion": images.confusion(
            classification.confusion(true, predicted, CLASSES), f"{on_test}, accuracy {accuracy:.4f}"
        ),
        "mistakes": images.mistakes(
            digits[wrong], true[wrong], predicted[wrong], f"{on_test}, all {wrong.sum()} mistakes: true → taken for"
        ),
        "neighbours": images.neighbours(
            digits[fields["queries"]],
            digits[fields["nearest"]],
            true[fields["nearest"]] == true[fields["queries"]][:, None],
            f"{name}: test images and the others nearest to them; mean average precision {precision:.3f}",
        ),
        "robustness": images.robustness(
            robustness, clean, f"{name}: k-NN on {params.mnist.robustness_images:,} perturbed test images"
        ),
    }
    for key, picture in pictures.items():
        write_png(folder / f"{key}.png", picture)
    frames = images.pca_over_training(fields["pca"], labels, fields["steps"], f"{name}: test embeddings over training")
    write_gif(folder / "pca.gif", frames, seconds=5, accents=images.DIGIT_COLOURS)
    digests.write_of_folder(Path(f"reports/digests/mnist/{name}.json"), folder)


if __name__ == "__main__":
    runtime.run(main)
