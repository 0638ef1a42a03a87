"""Pictures that compare the methods on the mixture, each with a caption that states the metrics.

Curves, maps, pairs of views and the predicted conditional are those of the first seed; all other values are means over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import stdtrit

from stages.pipeline.descriptions import describe
from stages.plots import comparison, embedding_space, spectra
from stages.plots.colours import method_colour
from stages.plots.comparison import Shown
from stages.plots.fields import Conditional, Fields, Spectrum
from stages.plots.landscape import Grid
from stages.results.tables import cell

Pair = tuple[Figure, str]
"""A picture and its caption."""
REACHED = 10.0
"""Depth below the highest log-density, in nats, down to which errors of scores are shown: hardly any point lies deeper."""
EMBEDDINGS = (
    "*Embedding spaces.* L2-normalised embeddings of the test points on their first two principal components, coloured by "
    "mode, and the standard deviation along every component. A collapsed embedding is a point; one of low rank is a line, and "
    "its spectrum falls steeply; one that uses the whole sphere is a filled disk with a flat spectrum."
)
"""Caption of the embedding spaces."""


EIGENFUNCTIONS = (
    "*Eigenfunctions of the positive pairs.* What two noisy views of a point have in common, in order: λ is the correlation of "
    "an eigenfunction between the views. The first ones distinguish the modes, the next ones are coordinates within the modes. "
    "An embedding that is learned from pairs of views can represent these functions, and loses those with a small λ first."
)
"""Caption of the eigenfunctions."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The mixture, on the grid of all fields and at the test points.

    Args:
        grid: the nodes.
        log_density: log p at the nodes (H, W).
        spectrum: eigenvalues and eigenfunctions of the positive pairs' operator.
        weights: mode weights (K,).
        means: means of the modes (K, 2).
        component: the component of each test point (N,).
    """

    grid: Grid
    log_density: NDArray[Any]
    spectrum: Spectrum
    weights: NDArray[Any]
    means: NDArray[Any]
    component: NDArray[np.int64]


def pictures(
    fields: Mapping[str, Fields], metrics: Mapping[str, Any], truth: Truth, collapse: Mapping[str, float]
) -> dict[str, Pair]:
    """The pictures and their captions, by name.

    Args:
        fields: the fields of each method (reports/fields).
        metrics: the metrics of each method (reports/metrics/mog).
        truth: the mixture.
        collapse: the thresholds of collapse, `variance_ratio` and `normalised_std`.
    """
    shown = {name: Shown(describe(name).short, method_colour(name)) for name in fields}
    curves = {
        name: (shown[name], f.steps, f.embedding.variance_ratio, f.embedding.normalised_std)
        for name, f in fields.items()
        if f.embedding
    }
    spaces = {
        name: (shown[name], f.embedding.test[0], f.embedding.collapsed(collapse)) for name, f in fields.items() if f.embedding
    }
    critics = {
        name: (shown[name], f.critic.true, f.critic.learned, metrics[name]["critic"]["r2_pmi"]["mean"])
        for name, f in fields.items()
        if f.critic
    }
    scores = {name: f.score for name, f in fields.items() if f.score}
    errors = {
        name: (shown[name], score.learned[0], score.true, metrics[name]["score"]["relative_fisher_error"]["mean"])
        for name, score in scores.items()
    }
    densities = {name: fields[name].log_density for name in scores}
    shares = {name: (shown[name], score.mode_weights, score.mode_weights_control) for name, score in scores.items()}
    conditionals = {name: f.conditional for name, f in fields.items() if f.conditional}
    represented = [
        _represented(shown[name], metrics[name]["spectrum"])
        for name in fields
        if "eigenvalue_1" in metrics[name].get("spectrum", {})
    ]
    volumes = {
        name: (
            shown[name],
            f.jepa_score,
            *(metrics[name]["jepa_score"][key]["mean"] for key in ("spearman", "spearman_untrained")),
        )
        for name, f in fields.items()
        if f.jepa_score
    }
    grid = truth.grid
    return {
        "eigenfunctions": (spectra.eigenfunctions(grid, truth.spectrum), EIGENFUNCTIONS),
        "spectrum": (spectra.matrix(represented), _spectrum(metrics)),
        "jepa_score": (spectra.jepa_scores(volumes), _jepa_score(metrics)),
        "collapse": (
            comparison.collapse(curves, collapse["variance_ratio"], collapse["normalised_std"]),
            _collapse(metrics, collapse["variance_ratio"]),
        ),
        "embeddings": (embedding_space.overview(spaces, truth.component), EMBEDDINGS),
        "conditional": (
            comparison.conditional({name: (shown[name], one) for name, one in conditionals.items()}),
            _conditional(conditionals, metrics),
        ),
        "critics": (comparison.critics(critics), _critics(metrics)),
        "score_errors": (comparison.score_errors(grid, errors, densities, REACHED), _score_errors(metrics)),
        "mode_weights": (
            comparison.mode_weights(shares, truth.weights, truth.means, grid, truth.log_density),
            _mode_weights(metrics),
        ),
    }


def _represented(method: Shown, found: Mapping[str, Any]) -> spectra.Represented:
    """The R² of all eigenfunctions, mean over seeds."""
    places = range(1, 1 + sum(key.startswith("eigenvalue_") for key in found))
    return spectra.Represented(
        method=method,
        view_noise=found["view_noise"],
        eigenvalues=np.array([found[f"eigenvalue_{k}"] for k in places]),
        after=np.array([found[f"r2_{k}"]["mean"] for k in places]),
        before=np.array([found[f"r2_{k}_untrained"]["mean"] for k in places]),
        resolved=np.array([resolved(found[f"delta_r2_{k}"]["values"]) for k in places]),
    )


def resolved(differences: Sequence[float]) -> bool:
    """Whether the 95 % interval of the mean of paired differences excludes 0; false for a single seed.

    mean ± t_{0.975, S−1} · std / √(S − 1)
    """
    if len(differences) < 2:
        return False
    half = stdtrit(len(differences) - 1, 0.975) * np.std(differences) / np.sqrt(len(differences) - 1)
    return bool(abs(np.mean(differences)) > half)


def _spectrum(metrics: Mapping[str, Any]) -> str:
    found = {name: m["spectrum"] for name, m in metrics.items() if "spectrum" in m}
    parts = [
        f"`{name}` {cell(one['captured'])} (untrained {cell(one['captured_untrained'])}) of {one['captured_best']:.2f}"
        for name, one in found.items()
    ]
    return (
        "*Eigenfunctions in the embeddings.* R² of each eigenfunction, regressed linearly on the embedding, after and before "
        "training, and the difference, mean over seeds. A grey difference is not resolved: the 95 % interval of the paired "
        "differences over seeds contains 0. "
        f"Captured trace of the operator: {', '.join(parts) or 'no method in this run has an embedding'}."
    )


def _jepa_score(metrics: Mapping[str, Any]) -> str:
    found = {name: m["jepa_score"] for name, m in metrics.items() if "jepa_score" in m}
    parts = [
        f"`{name}` {cell(one['spearman'])} (untrained {cell(one['spearman_untrained'])}, within modes "
        f"{cell(one['spearman_within_modes'])})"
        for name, one in found.items()
    ]
    return (
        "*JEPA-SCORE against the true density.* The log-volume that the encoder gives to the neighbourhood of a test point, "
        f"beside log p. Rank correlation: {', '.join(parts) or 'no method in this run has an embedding'}."
    )


def _list(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return "none" if not quoted else quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _collapse(metrics: Mapping[str, Any], smallest: float) -> str:
    found = {name: m["collapse"] for name, m in metrics.items() if "collapse" in m}
    collapsed = [name for name, one in found.items() if one["collapsed"]]
    kept = []
    for name in collapsed:
        ratio, std = (found[name][key]["mean"] for key in ("variance_ratio", "normalised_std"))
        kept.append(f"`{name}` keeps {ratio:.1g} of its variance" if ratio < smallest else f"`{name}` has the std {std:.1g}")
    values = f" ({'; '.join(kept)})" if kept else ""
    return (
        "*Collapse over training.* An embedding in the shaded part of either panel counts as collapsed: it is nearly constant. "
        f"Collapsed: {_list(collapsed)}{values}. "
        f"Not collapsed: {_list([name for name in found if name not in collapsed])}."
    )


def _conditional(shown: Mapping[str, Conditional], metrics: Mapping[str, Any]) -> str:
    if not shown:
        return "*Conditional.* No method in this run predicts a hidden coordinate."
    parts = []
    for name, field in shown.items():
        at = float(np.interp(field.point, field.axis, field.true))
        text = f"`{name}` predicts {field.point:.2f}, where the true density is {at:.1g}"
        measured = metrics[name]["conditional"]
        if "nll_x0_given_x1" in measured:
            nll, floor = measured["nll_x0_given_x1"], measured["nll_x0_given_x1_floor"]
            text += f", and its NLL is {cell(nll)} nats, against {floor:.3f} for the true density"
        parts.append(text)
    peak = max(float(field.true.max()) for field in shown.values())
    return f"*A conditional with several modes.* The maximum of the true density is {peak:.2g}. {'; '.join(parts)}."


def _critics(metrics: Mapping[str, Any]) -> str:
    found = {name: m["critic"] for name, m in metrics.items() if "critic" in m}
    parts = [
        f"`{name}` reaches R² {cell(c['r2_pmi'])} and a held-out loss {cell(c['excess_loss'])} nats above the optimum"
        for name, c in found.items()
    ]
    return f"*Critics against pointwise mutual information.* {'; '.join(parts) or 'No method in this run has a critic'}."


def _score_errors(metrics: Mapping[str, Any]) -> str:
    found = {name: m["score"]["relative_fisher_error"] for name, m in metrics.items() if "score" in m}
    parts = [f"`{name}` {cell(error)}" for name, error in found.items()]
    return (
        "*Errors of the learned scores.* Dark means a large error. Learned scores are unreliable far from the data, which the "
        f"metric does not cover. Relative Fisher divergence: {', '.join(parts) or 'no method in this run has a score'}."
    )


def _mode_weights(metrics: Mapping[str, Any]) -> str:
    parts = []
    for name, measured in metrics.items():
        for sampler in ("annealed", "langevin", "flow"):
            if "mode_weight_tv" in measured.get("sampling", {}).get(sampler, {}):
                learned, control = (
                    measured["sampling"][key]["mode_weight_tv"]["mean"] for key in (sampler, f"control_{sampler}")
                )
                parts.append(f"`{name}` {learned:.3f} (analytic score {control:.3f})")
    return (
        "*Mode weights of the samplers.* Diamonds show the same sampler with the analytic score: their error is due to the "
        f"sampler. Total variation distance to the true weights: {', '.join(parts) or 'no method in this run has a sampler'}."
    )
