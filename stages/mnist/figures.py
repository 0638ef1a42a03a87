"""Stage mnist_figures@METHOD: what the embedding looks like and what it is worth.

Writes to reports/figures/mnist/METHOD/: pca.png and pca.gif (over training), knn.png, confusion.png, robustness.png and
reconstructions.png.
"""

from __future__ import annotations

from pathlib import Path

from stages import runtime
from stages.goals import KNN
from stages.params import Params
from stages.plots import images
from stages.plots.canvas import write_gif, write_png

FIGURES = ("accuracy", "precision_macro", "recall_macro", "f1_macro")


def main(params: Params, name: str) -> None:
    """Draw the method called `name` from its metrics and fields."""
    metrics = runtime.read_json(Path(f"reports/metrics/mnist/{name}.json"))
    fields = runtime.read_arrays(Path(f"reports/fields/mnist/{name}.npz"))
    labels = runtime.read_arrays(Path("data/mnist/test.npz"))["labels"][: params.mnist.snapshot_images]
    folder = Path(f"reports/figures/mnist/{name}")
    k = params.mnist.neighbours
    accuracy, clean = (metrics[key]["accuracy"]["mean"] for key in ("knn", "robustness_clean"))
    goal = KNN if params.mnist.dataset == "mnist" else None
    contestants = {name: "knn", "raw pixels": "knn_raw_pixels", "untrained encoder": "knn_untrained"}
    groups = {who: {f.replace("_", "\n"): metrics[key][f]["mean"] for f in FIGURES} for who, key in contestants.items()}
    robustness = {kind: {s: v["mean"] for s, v in group.items()} for kind, group in metrics["robustness"].items()}
    rows = {row: fields[row] for row in ("original", "perturbed", "reconstructed")}
    quality = {key: metrics["reconstruction"][key]["mean"] for key in ("mse", "psnr", "ssim")}
    pictures = {
        "pca": images.pca(fields["pca"][-1], labels, f"{name}: test embeddings, first two principal components"),
        "knn": images.bars(groups, f"{name}: k-NN on the test images, k = {k}", "score", goal),
        "confusion": images.confusion(fields["confusion"], f"{name}: k-NN on the test images, accuracy {accuracy:.4f}"),
        "robustness": images.robustness(robustness, clean, f"{name}: k-NN on perturbed test images"),
        "reconstructions": images.sheet(
            rows, f"{name}: MSE {quality['mse']:.4f}, PSNR {quality['psnr']:.1f} dB, SSIM {quality['ssim']:.3f}"
        ),
    }
    for key, picture in pictures.items():
        write_png(folder / f"{key}.png", picture)
    frames = images.pca_over_training(fields["pca"], labels, fields["steps"], f"{name}: test embeddings over training")
    write_gif(folder / "pca.gif", frames, seconds=5, accents=images.DIGIT_COLOURS)
    runtime.write_digests(Path(f"reports/digests/mnist/{name}.json"), folder)


if __name__ == "__main__":
    runtime.run(main)
