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
from numpy.typing import NDArray

from stages.config.params import Params
from stages.dag import leftovers
from stages.mog.problem import setup
from stages.pipeline import artifacts, files, runner
from stages.pipeline.concurrent import concurrently
from stages.pipeline.descriptions import describe
from stages.pipeline.lookup import look_up
from stages.plots import gallery
from stages.plots.canvas import write_gif, write_png
from stages.plots.fields import Spectrum, parse
from stages.plots.landscape import Grid
from stages.results import comparison
from stages.results.metric_names import name
from stages.results.tables import cell, table

MOG_TABLES = {
    "Joint embeddings": (
        "heldout_loss",
        "collapse.variance_ratio",
        "collapse.normalised_std",
        "collapse.collapsed",
        "structure.distance_spearman",
        "structure.direction_spearman",
        "clusters.knn_accuracy",
        "clusters.knn_accuracy_raw",
        "clusters.knn_accuracy_untrained",
        "clusters.bayes_accuracy",
    ),
    "Spectrum of the positive pairs": (
        "spectrum.global_r2",
        "spectrum.delta_global_r2",
        "spectrum.local_r2",
        "spectrum.delta_local_r2",
        "spectrum.captured",
        "spectrum.delta_captured",
        "spectrum.captured_best",
        "spectrum.excess_loss",
        "jepa_score.spearman",
        "jepa_score.spearman_untrained",
    ),
    "Scores and energies": (
        "heldout_loss",
        "score.relative_fisher_error",
        "score.energy_spearman_within_modes",
        "score.energy_gap_error",
        "sampling.langevin.mode_weight_tv",
        "sampling.control_langevin.mode_weight_tv",
        "sampling.annealed.mode_weight_tv",
        "sampling.control_annealed.mode_weight_tv",
        "sampling.flow.mode_weight_tv",
        "sampling.control_flow.mode_weight_tv",
    ),
    "Densities and flows": (
        "likelihood.kl",
        "likelihood.kl_standard_error",
        "likelihood.log_partition",
        "likelihood.energy_rmse",
        "velocity.relative_error",
    ),
    "Critics": ("critic.r2_pmi", "critic.spearman_pmi", "critic.excess_loss"),
    "Conditionals": (
        "conditional.r2_x1_given_x0",
        "conditional.r2_x0_given_x1",
        "conditional.dependence_error_x1_given_x0",
        "conditional.dependence_error_x0_given_x1",
        "conditional.nll_x1_given_x0",
        "conditional.nll_x0_given_x1",
    ),
}
"""The tables of the mixture: title and keys of the metrics, whose names are those of results/metric_names.py."""
MNIST_TABLES = {
    "{title}, phase 1": (
        "knn.accuracy",
        "knn.precision_macro",
        "knn.recall_macro",
        "knn.f1_macro",
        "knn_validation.accuracy",
        "knn_raw_pixels.accuracy",
        "knn_untrained.accuracy",
        "linear_probe.accuracy",
        "thousand_images_seen",
        "collapse.normalised_std",
        "collapse.rankme",
        "collapse.collapsed",
    ),
    "{title}, phase 2": (
        "reconstruction.mse",
        "reconstruction.mean_image_mse",
        "reconstruction.pca{components}_mse",
        "reconstruction.psnr",
        "reconstruction.ssim",
    ),
}
"""The same for the images; `title` is that of the data set, `components` the number of principal components."""

Groups = Mapping[str, tuple[str, ...]]
"""Titles of tables and keys of metrics."""


def main(params: Params) -> None:
    """Write the tables, the summary and the pictures that compare all methods."""
    leftovers.remove()
    components = params.mnist_reconstruct.pca_components
    domains: dict[str, tuple[list[str], Groups]] = {
        "mog": (params.methods, MOG_TABLES),
        "mnist": (params.mnist.methods, MNIST_TABLES),
    }
    rows: dict[str, Any] = {}
    tables = []
    means: dict[str, Any] = {}
    metrics_of: dict[str, dict[str, Any]] = {}
    for domain, (methods, groups) in domains.items():
        metrics = metrics_of[domain] = {m: files.read_json(artifacts.metrics(domain, m)) for m in methods}
        labels = {heading: _labels(keys, components) for heading, keys in groups.items()}
        keys = {label: key for columns in labels.values() for label, key in columns.items()}
        rows[domain] = {m: {column: look_up(metrics[m], key) for column, key in keys.items()} for m in methods}
        tables += [
            markdown(heading.format(title=params.mnist.title), rows[domain], list(columns))
            for heading, columns in labels.items()
        ]
        means[domain] = {m: summary(rows[domain][m], keys) for m in methods}
    files.write_json(artifacts.TABLE_JSON, rows)
    tables += [f"**Warning:** {text}\n" for text in files.read_json(artifacts.MNIST_TESTS)["warnings"]]
    files.write_text(artifacts.TABLES, "\n".join(filter(None, tables)))
    files.write_json(artifacts.SUMMARY, means)
    _draw(params, metrics_of["mog"])


def _labels(keys: tuple[str, ...], components: int) -> dict[str, str]:
    """The keys of metrics by the labels of their columns."""
    pca = "reconstruction.pca{components}_mse"
    return {"MSE of PCA, clean images" if k == pca else name(k).label: k.format(components=components) for k in keys}


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
    thresholds = params.collapse.model_dump()
    first = shown[params.methods[0]]
    grid = Grid(x=first.grid_x, y=first.grid_y)
    test, reference = files.read_arrays(artifacts.data("mog", "test")), tuple(params.mog.evaluation.reference)
    mixture = setup.mixture(setup.require_plane(setup.read()))
    log_density = mixture.log_density(np.stack(np.meshgrid(grid.x, grid.y), -1))
    points = test["x"]

    def landscapes(energies: Mapping[str, NDArray[Any]]) -> list[gallery.Landscape]:
        return [
            gallery.Landscape(
                title=describe(method).short + (f", σ = {fields.score.sigma:g}" if fields.score and fields.score.sigma else ""),
                energy=fields.relative(energies[method]),
                embedding=fields.embedding is not None,
                collapsed=fields.embedding is not None and fields.embedding.collapsed(thresholds),
                progress=fields.steps / fields.steps[-1],
            )
            for method, fields in shown.items()
        ]

    def final() -> None:
        energies = landscapes({method: fields.energy[0] for method, fields in shown.items()})
        truth = log_density.max() - log_density
        title = "Energy landscapes after training, first seed; star: reference point of the joint embeddings"
        write_png(artifacts.FIGURES / "gallery.png", gallery.gallery(grid, energies, points, truth, reference, title))

    def formation() -> None:
        energies = landscapes({method: fields.snapshot_energy for method, fields in shown.items()})
        frames = gallery.formation(grid, energies, points, reference)
        write_gif(artifacts.FIGURES / "gallery.gif", frames, seconds=6)

    truth = comparison.Truth(
        grid=grid,
        log_density=log_density,
        spectrum=Spectrum(**files.read_arrays(artifacts.SPECTRUM)),
        weights=mixture.weights,
        means=mixture.means,
        component=test["component"],
    )
    pictures = comparison.pictures(shown, metrics, truth, thresholds)
    folder = artifacts.figures("mog")
    drawn = [partial(write_png, folder / f"{name}.png", picture) for name, (picture, _) in pictures.items()]
    concurrently(formation, *drawn, final)
    sections = [f"![{name}](figures/mog/{name}.png)\n\n{caption}\n" for name, (_, caption) in pictures.items()]
    files.write_text(artifacts.COMPARISON, "\n".join(sections))


if __name__ == "__main__":
    runner.run(main, threads=1)
