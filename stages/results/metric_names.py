"""Names of metrics for tables and figures, and which values are better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricName:
    """The name of a metric.

    Args:
        label: words, with the unit.
        better: which values are better; None if neither.
    """

    label: str
    better: Literal["lower", "higher"] | None = None

    @property
    def with_arrow(self) -> str:
        """The label, with ↑ if higher values are better and ↓ if lower ones are."""
        return self.label + {"lower": " ↓", "higher": " ↑", None: ""}[self.better]


NAMES: Mapping[str, MetricName] = {
    "heldout_loss": MetricName("held-out loss", "lower"),
    "batch_dependence": MetricName("batch dependence"),
    "collapse.variance_ratio": MetricName("variance after / before"),
    "collapse.normalised_std": MetricName("normalised std", "higher"),
    "collapse.rankme": MetricName("effective rank (RankMe)", "higher"),
    "collapse.collapsed": MetricName("collapsed"),
    "structure.distance_spearman": MetricName("distances, Spearman", "higher"),
    "structure.delta_distance_spearman": MetricName("distances, after minus before training", "higher"),
    "structure.direction_spearman": MetricName("distances after L2 normalisation, Spearman", "higher"),
    "spectrum.global_r2": MetricName("R² of the eigenfunctions between modes", "higher"),
    "spectrum.global_r2_untrained": MetricName("R² of the eigenfunctions between modes, untrained"),
    "spectrum.delta_global_r2": MetricName("R² between modes, after minus before training", "higher"),
    "spectrum.local_r2": MetricName("R² of the eigenfunctions within modes", "higher"),
    "spectrum.local_r2_untrained": MetricName("R² of the eigenfunctions within modes, untrained"),
    "spectrum.delta_local_r2": MetricName("R² within modes, after minus before training", "higher"),
    "spectrum.captured": MetricName("captured trace", "higher"),
    "spectrum.captured_untrained": MetricName("captured trace, untrained"),
    "spectrum.delta_captured": MetricName("captured trace, after minus before training", "higher"),
    "spectrum.captured_best": MetricName("captured trace, best"),
    "spectrum.excess_loss": MetricName("spectral loss above the optimum", "lower"),
    "jepa_score.spearman": MetricName("JEPA-SCORE and log p, Spearman", "higher"),
    "jepa_score.spearman_untrained": MetricName("JEPA-SCORE and log p, untrained"),
    "jepa_score.delta_spearman": MetricName("JEPA-SCORE and log p, after minus before training", "higher"),
    "jepa_score.spearman_within_modes": MetricName("JEPA-SCORE and log p within modes, Spearman", "higher"),
    "jepa_score.spearman_within_modes_untrained": MetricName("JEPA-SCORE and log p within modes, untrained"),
    "clusters.silhouette": MetricName("silhouette", "higher"),
    "clusters.silhouette_raw": MetricName("silhouette of the raw inputs"),
    "wells.energy_auroc": MetricName("wells around the data, AUROC", "higher"),
    "wells.energy_auroc_untrained": MetricName("wells around the data, AUROC, untrained"),
    "clusters.knn_accuracy": MetricName("component k-NN accuracy", "higher"),
    "clusters.knn_accuracy_raw": MetricName("k-NN on raw inputs"),
    "clusters.knn_accuracy_untrained": MetricName("k-NN, untrained"),
    "clusters.bayes_accuracy": MetricName("Bayes accuracy"),
    "clusters.delta_knn_accuracy_raw": MetricName("k-NN accuracy minus that of raw inputs", "higher"),
    "clusters.delta_knn_accuracy_untrained": MetricName("k-NN accuracy minus that before training", "higher"),
    "score.relative_fisher_error": MetricName("relative Fisher divergence", "lower"),
    "score.energy_spearman_within_modes": MetricName("energy within modes, Spearman", "higher"),
    "score.energy_spearman_support": MetricName("energy on the data, Spearman", "higher"),
    "score.energy_gap_error": MetricName("between-mode log-density error, nats", "lower"),
    "denoising.excess_loss": MetricName("denoising loss above the optimum", "lower"),
    "denoising.fisher_divergence": MetricName("Fisher divergence", "lower"),
    "denoising.excess_over_error": MetricName("excess loss / Fisher divergence"),
    "sampling.langevin.mode_weight_tv": MetricName("Langevin mode weights, TV", "lower"),
    "sampling.control_langevin.mode_weight_tv": MetricName("Langevin with true score, TV"),
    "sampling.annealed.mode_weight_tv": MetricName("annealed mode weights, TV", "lower"),
    "sampling.control_annealed.mode_weight_tv": MetricName("annealed with true score, TV"),
    "sampling.flow.mode_weight_tv": MetricName("flow mode weights, TV", "lower"),
    "sampling.control_flow.mode_weight_tv": MetricName("flow with true velocity, TV"),
    "likelihood.kl": MetricName("Kullback-Leibler divergence, nats", "lower"),
    "likelihood.kl_standard_error": MetricName("its standard error, nats"),
    "likelihood.log_partition": MetricName("log of the partition function"),
    "likelihood.energy_rmse": MetricName("energy error with constant, RMS, nats", "lower"),
    "velocity.relative_error": MetricName("relative error of the velocity", "lower"),
    "critic.r2_pmi": MetricName("PMI, R²", "higher"),
    "critic.spearman_pmi": MetricName("PMI, Spearman", "higher"),
    "critic.excess_loss": MetricName("loss above the optimum, nats", "lower"),
    "critic.unexplained_pmi": MetricName("1 − R² of the PMI", "lower"),
    "critic.implied_relative_fisher_error": MetricName("relative Fisher divergence of the implied score", "lower"),
    "conditional.r2_x1_given_x0": MetricName("R² of x₁ from x₀", "higher"),
    "conditional.r2_x0_given_x1": MetricName("R² of x₀ from x₁", "higher"),
    "conditional.dependence_error_x1_given_x0": MetricName("dependence error, x₁ on x₀", "lower"),
    "conditional.dependence_error_x0_given_x1": MetricName("dependence error, x₀ on x₁", "lower"),
    "conditional.nll_x1_given_x0": MetricName("NLL of x₁ given x₀, nats", "lower"),
    "conditional.nll_x0_given_x1": MetricName("NLL of x₀ given x₁, nats", "lower"),
    "knn.accuracy": MetricName("k-NN accuracy", "higher"),
    "knn.precision_macro": MetricName("precision", "higher"),
    "knn.recall_macro": MetricName("recall", "higher"),
    "knn.f1_macro": MetricName("F1", "higher"),
    "knn_validation.accuracy": MetricName("k-NN, held-out training images", "higher"),
    "knn_raw_pixels.accuracy": MetricName("k-NN on raw pixels"),
    "knn_untrained.accuracy": MetricName("k-NN, untrained"),
    "linear_probe.accuracy": MetricName("linear probe", "higher"),
    "retrieval.map": MetricName("retrieval, mAP", "higher"),
    "thousand_images_seen": MetricName("thousand images seen"),
    "robustness.affine.1": MetricName("k-NN under the strongest affine maps", "higher"),
    "reconstruction.mse": MetricName("reconstruction MSE", "lower"),
    "reconstruction.mean_image_mse": MetricName("MSE of the mean image"),
    "reconstruction.psnr": MetricName("PSNR, dB", "higher"),
    "reconstruction.ssim": MetricName("SSIM", "higher"),
    "validation.mse": MetricName("MSE, held-out training images", "lower"),
    "mse": MetricName("MSE", "lower"),
    "psnr": MetricName("PSNR, dB", "higher"),
    "ssim": MetricName("SSIM", "higher"),
    "without_affine.mse": MetricName("MSE without affine maps", "lower"),
    "clean.mse": MetricName("MSE on clean images", "lower"),
    "clean.psnr": MetricName("PSNR on clean images, dB", "higher"),
    "clean.ssim": MetricName("SSIM on clean images", "higher"),
    "per_perturbation.affine.1.mse": MetricName("MSE, strongest affine maps", "lower"),
    "per_perturbation.dilation.1.mse": MetricName("MSE, strongest dilation", "lower"),
    "per_perturbation.low_contrast.1.mse": MetricName("MSE, lowest contrast", "lower"),
    "per_perturbation.salt_and_pepper.1.mse": MetricName("MSE, strongest salt and pepper", "lower"),
    "per_perturbation.gaussian.1.mse": MetricName("MSE, strongest Gaussian noise", "lower"),
}
"""The metrics that tables and figures show, by their dotted keys."""


def name(key: str) -> MetricName:
    """The name of a metric; the key in words if it has none here."""
    return NAMES.get(key) or MetricName(key.replace(".", " ").replace("_", " "))
