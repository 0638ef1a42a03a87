"""Stage mog_lessons: pictures that hold all methods of the mixture against each other, each with a caption of its numbers.

Writes collapse.png, conditional.png, critics.png, score_errors.png and mode_weights.png to reports/figures/mog/, and
reports/lessons.md with their captions. Curves, maps, pairs of views and the predicted conditional are the first seed's; all
other figures are means over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages import files, runtime
from stages.mog import setting
from stages.params import Params
from stages.plots import lessons
from stages.plots.canvas import write_png
from stages.plots.landscape import Grid

FIGURES = Path("reports/figures/mog")
Fields = Mapping[str, Any]


def main(params: Params) -> None:
    """Draw every picture and write its caption."""
    fields = {name: files.read_arrays(Path(f"reports/fields/{name}.npz")) for name in params.methods}
    metrics = {name: files.read_json(Path(f"reports/metrics/mog/{name}.json")) for name in params.methods}
    points = files.read_arrays(Path("data/mog/test.npz"))["x"]
    first = fields[params.methods[0]]
    grid = Grid(x=first["grid_x"], y=first["grid_y"])
    truth = setting.mixture(params.mog).weights

    def having(key: str) -> dict[str, Fields]:
        return {name: field for name, field in fields.items() if key in field}

    curves = {
        name: (f["snapshot_steps"], f["snapshot_variance_ratio"], f["snapshot_normalised_std"])
        for name, f in having("snapshot_variance_ratio").items()
    }
    critics = {
        name: (f["critic_true"], f["critic_learned"], metrics[name]["critic"]["r2_pmi"]["mean"])
        for name, f in having("critic_true").items()
    }
    errors = {
        name: (f["score"][0], f["score_true"], metrics[name]["score"]["relative_fisher_error"]["mean"])
        for name, f in having("score").items()
    }
    weights = {name: (f["mode_weights"], f["mode_weights_control"]) for name, f in having("mode_weights").items()}
    pictures = {
        "collapse": lessons.collapse(curves, params.collapse.variance_ratio, params.collapse.normalised_std),
        "conditional": lessons.conditional(having("conditional_axis")),
        "critics": lessons.critics(critics),
        "score_errors": lessons.score_errors(grid, errors, points),
        "mode_weights": lessons.mode_weights(weights, truth),
    }
    for name, picture in pictures.items():
        write_png(FIGURES / f"{name}.png", picture)
    captions = {
        "collapse": _collapse(metrics),
        "conditional": _conditional(having("conditional_axis"), metrics),
        "critics": _critics(metrics),
        "score_errors": _score_errors(metrics),
        "mode_weights": _mode_weights(metrics),
    }
    sections = [f"![{name}](figures/mog/{name}.png)\n\n{text}\n" for name, text in captions.items()]
    files.write_text(Path("reports/lessons.md"), "\n".join(sections))


def _list(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return "none" if not quoted else quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _collapse(metrics: Mapping[str, Any]) -> str:
    verdict = {name: m["collapse"]["collapsed"] for name, m in metrics.items() if "collapse" in m}
    ratios = {name: metrics[name]["collapse"]["variance_ratio"]["mean"] for name, gone in verdict.items() if gone}
    lost = "; ".join(f"`{name}` keeps {ratio:.1g} of its variance" for name, ratio in ratios.items())
    return (
        f"*Collapse over training.* Below either dashed line an embedding counts as collapsed: nearly the same for all "
        "points. Collapsed: "
        f"{_list(list(ratios))}{f' ({lost})' if lost else ''}. Not: {_list([n for n, gone in verdict.items() if not gone])}."
    )


def _conditional(shown: Mapping[str, Fields], metrics: Mapping[str, Any]) -> str:
    if not shown:
        return "*Conditional.* No method in this run predicts a hidden coordinate."
    parts = []
    for name, field in shown.items():
        at = float(np.interp(field["conditional_point"][0], field["conditional_axis"], field["conditional_true"]))
        text = f"`{name}` predicts {float(field['conditional_point'][0]):.2f}, where the true density is {at:.1g}"
        figures = metrics[name]["conditional"]
        if "nll_x0_given_x1" in figures:
            nll, floor = figures["nll_x0_given_x1"], figures["nll_x0_given_x1_floor"]
            text += f", and its density costs {nll['mean']:.3f} ± {nll['std']:.3f} nats a point against a floor of {floor:.3f}"
        parts.append(text)
    peak = max(float(field["conditional_true"].max()) for field in shown.values())
    return f"*A conditional with several modes.* The true density rises to {peak:.2g}. {'; '.join(parts)}."


def _critics(metrics: Mapping[str, Any]) -> str:
    found = {name: m["critic"] for name, m in metrics.items() if "critic" in m}
    parts = [
        f"`{name}` reaches R² {c['r2_pmi']['mean']:.3f} ± {c['r2_pmi']['std']:.3f} and a held-out loss "
        f"{c['excess_loss']['mean']:.3f} ± {c['excess_loss']['std']:.3f} nats above the optimum"
        for name, c in found.items()
    ]
    return f"*Critics against pointwise mutual information.* {'; '.join(parts) or 'No method in this run judges pairs'}."


def _score_errors(metrics: Mapping[str, Any]) -> str:
    found = {name: m["score"]["relative_fisher_error"] for name, m in metrics.items() if "score" in m}
    parts = [f"`{name}` {error['mean']:.3f} ± {error['std']:.3f}" for name, error in found.items()]
    return (
        "*Where scores are wrong.* Dark is right; far from the data nothing was learned, and nothing counts. Relative Fisher "
        f"error: {', '.join(parts) or 'no method in this run has a score'}."
    )


def _mode_weights(metrics: Mapping[str, Any]) -> str:
    parts = []
    for name, figures in metrics.items():
        for sampler in ("annealed", "langevin"):
            if sampler in figures.get("sampling", {}):
                moved, control = (figures["sampling"][key]["mode_weight_tv"]["mean"] for key in (sampler, f"control_{sampler}"))
                parts.append(f"`{name}` {moved:.3f} (true score {control:.3f})")
    return (
        "*Mode weights of the samplers.* Diamonds are the same sampler with the analytic score: what they miss is the "
        f"sampler's fault. Total variation from the truth: {', '.join(parts) or 'no method in this run samples'}."
    )


if __name__ == "__main__":
    runtime.run(main)
