"""Stage compare: compare all methods.

Writes reports/table.json, one row per method and domain, and reports/table.md, the same as several small tables;
reports/metrics/summary.json, the means that `dvc metrics show` prints; reports/figures/gallery.png and gallery.gif, all
landscapes of the mixture; and pictures that compare the methods on the mixture (results/comparison.py) in reports/figures/mog,
with their captions in reports/comparison.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from stages.config.params import Params
from stages.dag import leftovers
from stages.mog.problem import setup
from stages.pipeline import artifacts, files, runner
from stages.pipeline.concurrent import concurrently
from stages.pipeline.lookup import look_up
from stages.plots import gallery
from stages.plots.canvas import write_gif, write_png
from stages.plots.fields import Fields, parse
from stages.plots.landscape import DEPTH, Grid
from stages.results import comparison
from stages.results.tables import cell, table

MOG_COLUMNS = {
    "Joint embeddings": {
        "held-out loss": "heldout_loss",
        "variance after / before": "collapse.variance_ratio",
        "normalised std": "collapse.normalised_std",
        "collapsed": "collapse.collapsed",
        "distances, Spearman": "structure.distance_spearman",
        "distances after L2 normalisation, Spearman": "structure.direction_spearman",
        "component k-NN accuracy": "clusters.knn_accuracy",
        "k-NN on raw inputs": "clusters.knn_accuracy_raw",
        "k-NN, untrained": "clusters.knn_accuracy_untrained",
        "Bayes accuracy": "clusters.bayes_accuracy",
    },
    "Scores and energies": {
        "held-out loss": "heldout_loss",
        "relative Fisher divergence": "score.relative_fisher_error",
        "energy within modes, Spearman": "score.energy_spearman_within_modes",
        "between-mode log-density error, nats": "score.energy_gap_error",
        "Langevin mode weights, TV": "sampling.langevin.mode_weight_tv",
        "Langevin with true score, TV": "sampling.control_langevin.mode_weight_tv",
        "annealed mode weights, TV": "sampling.annealed.mode_weight_tv",
        "annealed with true score, TV": "sampling.control_annealed.mode_weight_tv",
    },
    "Critics": {
        "PMI, R²": "critic.r2_pmi",
        "PMI, Spearman": "critic.spearman_pmi",
        "loss above the optimum, nats": "critic.excess_loss",
    },
    "Conditionals": {
        "R² of x₁ from x₀": "conditional.r2_x1_given_x0",
        "R² of x₀ from x₁": "conditional.r2_x0_given_x1",
        "dependence error, x₁ on x₀": "conditional.dependence_error_x1_given_x0",
        "dependence error, x₀ on x₁": "conditional.dependence_error_x0_given_x1",
        "NLL of x₁ given x₀, nats": "conditional.nll_x1_given_x0",
        "NLL of x₀ given x₁, nats": "conditional.nll_x0_given_x1",
    },
}
"""The tables of the mixture: title, then label of the column and key of its metric. Labels are unique within a domain."""
MNIST_COLUMNS = {
    "{title}, phase 1": {
        "k-NN accuracy": "knn.accuracy",
        "precision": "knn.precision_macro",
        "recall": "knn.recall_macro",
        "F1": "knn.f1_macro",
        "k-NN, held-out training images": "knn_validation.accuracy",
        "k-NN on raw pixels": "knn_raw_pixels.accuracy",
        "k-NN, untrained": "knn_untrained.accuracy",
        "linear probe": "linear_probe.accuracy",
        "thousand images seen": "thousand_images_seen",
        "normalised std": "collapse.normalised_std",
        "RankMe": "collapse.rankme",
        "collapsed": "collapse.collapsed",
    },
    "{title}, phase 2": {
        "reconstruction MSE": "reconstruction.mse",
        "MSE of the mean image": "reconstruction.mean_image_mse",
        "MSE of PCA, clean images": "reconstruction.pca{components}_mse",
        "PSNR, dB": "reconstruction.psnr",
        "SSIM": "reconstruction.ssim",
    },
}
"""The same for the images; `title` is that of the data set, `components` the number of principal components."""

Columns = Mapping[str, Mapping[str, str]]
"""Titles of tables, labels of columns and keys of metrics."""


def main(params: Params) -> None:
    """Write the tables, the summary and the pictures that compare all methods."""
    leftovers.remove()
    components = params.mnist_reconstruct.pca_components
    domains: dict[str, tuple[list[str], Columns]] = {
        "mog": (params.methods, MOG_COLUMNS),
        "mnist": (params.mnist.methods, MNIST_COLUMNS),
    }
    rows: dict[str, Any] = {}
    tables = []
    means: dict[str, Any] = {}
    metrics_of: dict[str, dict[str, Any]] = {}
    for domain, (methods, groups) in domains.items():
        metrics = metrics_of[domain] = {m: files.read_json(artifacts.metrics(domain, m)) for m in methods}
        keys = {c: key.format(components=components) for columns in groups.values() for c, key in columns.items()}
        rows[domain] = {m: {column: look_up(metrics[m], key) for column, key in keys.items()} for m in methods}
        tables += [
            markdown(heading.format(title=params.mnist.title), rows[domain], list(columns))
            for heading, columns in groups.items()
        ]
        means[domain] = {m: summary(rows[domain][m], keys) for m in methods}
    files.write_json(artifacts.TABLE_JSON, rows)
    files.write_text(artifacts.TABLES, "\n".join(filter(None, tables)))
    files.write_json(artifacts.SUMMARY, means)
    _draw(params, metrics_of["mog"])


def summary(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The means of a table row by the keys of their metrics, without missing values."""
    means = {columns[c]: value["mean"] if isinstance(value, Mapping) else value for c, value in row.items()}
    return {key: value for key, value in means.items() if value is not None}


def markdown(title: str, rows: Mapping[str, Mapping[str, Any]], columns: list[str]) -> str:
    """A titled Markdown table of the rows and columns that have values; empty if there are none."""
    rows = {m: row for m, row in rows.items() if any(row[c] is not None for c in columns[1:] or columns)}
    columns = [c for c in columns if any(row[c] is not None for row in rows.values())]
    if not rows:
        return ""
    return f"**{title}**\n\n" + table(["method", *columns], ([m, *(cell(row[k]) for k in columns)] for m, row in rows.items()))


def _draw(params: Params, metrics: Mapping[str, Any]) -> None:
    """Draw the pictures that compare the methods on the mixture, and write their captions."""
    shown = {name: parse(files.read_arrays(artifacts.fields("mog", name))) for name in params.methods}
    first = shown[params.methods[0]]
    grid = Grid(x=first.grid_x, y=first.grid_y)
    points = files.read_arrays(artifacts.data("mog", "test"))["x"]
    mixture = setup.mixture(setup.read())
    truth = -mixture.log_density(np.stack(np.meshgrid(grid.x, grid.y), -1))
    final = {name: (f.energy[0], _limits(f)) for name, f in shown.items()}
    over_training = {name: (f.snapshot_energy, _limits(f)) for name, f in shown.items()}

    def landscapes() -> None:
        write_png(artifacts.FIGURES / "gallery.png", gallery.gallery(grid, final, points, truth))

    def formation() -> None:
        write_gif(artifacts.FIGURES / "gallery.gif", gallery.formation(grid, over_training, points), seconds=6)

    pictures = comparison.pictures(shown, metrics, grid, points, mixture.weights, params.collapse.model_dump())
    folder = artifacts.figures("mog")
    drawn = [partial(write_png, folder / f"{name}.png", picture) for name, (picture, _) in pictures.items()]
    concurrently(formation, *drawn, landscapes)
    sections = [f"![{name}](figures/mog/{name}.png)\n\n{caption}\n" for name, (_, caption) in pictures.items()]
    files.write_text(artifacts.COMPARISON, "\n".join(sections))


def _limits(shown: Fields) -> tuple[float, float]:
    """The limits of the colour scale, of −cos or of an energy in nats."""
    return (-1.0, 1.0) if shown.embedding else (shown.lowest, shown.lowest + DEPTH)


if __name__ == "__main__":
    runner.run(main, threads=1)
