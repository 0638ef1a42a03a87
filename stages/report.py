"""Stage report: an interactive page that shows and compares what every method learned.

Writes reports/index.html, which opens from the file system without a server or a network, and the data that all methods share:
reports/page_data/mixture.js, spectrum.js and images.js. The page loads the scripts of reports/page_data on demand. Its sources
are in stages/page: a template, a style sheet, the text story.yaml, and page.js, which esbuild bundles from src/. Also writes
reports/figures/claims.png, all verdicts as a matrix.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.colors import to_hex

from stages.config.params import Params
from stages.core.paths import PARAMS, ROOT, STUDIES
from stages.dag import leftovers
from stages.dag.requirements import direct
from stages.mog.problem import setup
from stages.mog.problem.spectrum import COUNT
from stages.pipeline import artifacts, digests, files, page_script, runner
from stages.pipeline.descriptions import describe
from stages.pipeline.lookup import look_up
from stages.plots.canvas import write_png
from stages.plots.colours import CLASSES, ENERGY_MAP, class_colours, method_colour
from stages.plots.spectra import DEPTH, LARGEST
from stages.results import story, verdict_matrix

PAGE = ROOT / "stages/page"
"""Folder of the page's sources."""
RAW = "raw pixels"
"""Label of the baseline on raw pixels."""
BAR_WIDTH = 120
"""Width of the bar that shows a metric and its threshold, in SVG units."""


def main(params: Params) -> None:
    """Write the page and the data that all methods share."""
    leftovers.remove()
    mnist = {m: files.read_json(artifacts.metrics("mnist", m)) for m in params.mnist.methods}
    reconstructed = params.mnist_reconstruct.methods
    decided = files.read_json(artifacts.CLAIMS)
    every = ((method, entry) for method, claims in decided.items() for entry in claims.values())
    title = "What the literature says (yes or no), and whether the measurement agrees"
    write_png(artifacts.FIGURES / "claims.png", verdict_matrix.matrix(every, title))
    claims = [claim(method, key, entry) for method, entries in decided.items() for key, entry in entries.items()]
    measured = {name: files.read_json(artifacts.metrics("mog", name)) for name in params.methods}
    shared = {"mixture": mixture(params, measured), "spectrum": eigenfunctions(), "images": images(params)}
    for name, content in shared.items():
        page_script.write(artifacts.page_data("", name), name, content)
    steps = story.steps(
        PAGE, params.methods, params.mnist.methods, lambda domain, name: (measured if domain == "mog" else mnist)[name]
    )
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    page = environment.get_template("page.html.j2").render(
        style=Markup(_read("style.css")),  # noqa: S704  # our own files
        script=Markup(_read("page.js").partition("//# sourceMappingURL")[0]),  # noqa: S704
        results=Markup(page_script.escaped(results(params, mnist, measured, steps))),  # noqa: S704  # no `<` is left in it
        steps=steps,
        math_font=base64.b64encode((PAGE / "math.woff2").read_bytes()).decode(),
        images=params.mnist.title,
        image_warnings=files.read_json(artifacts.MNIST_TESTS)["warnings"],
        mnist_methods=params.mnist.methods,
        colours=colours(params),
        reconstructed=reconstructed,
        robustness_images=robustness_images(params),
        robustness=robustness(mnist),
        seeds=params.seeds,
        counts=counts(claims),
        claims=claims,
        digests=inputs(params),
        params=PARAMS.read_text(encoding="utf-8"),
        versions="\n".join(direct()),
        licences=_read("LICENSES"),
    )
    files.write_text(artifacts.PAGE, page)


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def mixture(params: Params, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The mixture, its test points, the grids and the methods."""
    described = setup.read()
    truth, (x, y) = setup.mixture(described), setup.grid_axes(described, params.mog.evaluation.grid)
    points = files.read_arrays(artifacts.data("mog", "test"))["x"][: params.page.points]
    families = story.families(PAGE, params.methods)
    methods = [
        {
            "name": name,
            "title": describe(name).title,
            "short": describe(name).short,
            "family": families[name],
            "collapsed": bool(look_up(measured[name], "collapse.collapsed")),
            "flow": "flow" in measured[name].get("sampling", {}),
        }
        for name in params.methods
    ]
    return {
        "methods": sorted(methods, key=lambda one: list(dict.fromkeys(families.values())).index(one["family"])),
        "seeds": params.seeds,
        "weights": truth.weights.tolist(),
        "means": truth.means.tolist(),
        "covariances": truth.covariances.tolist(),
        "x": x.tolist(),
        "y": y.tolist(),
        "coarse": min(params.page.coarse, params.mog.evaluation.grid),
        "reference": list(params.mog.evaluation.reference),
        "points": page_script.quantised(points, "uint16"),
    }


def eigenfunctions() -> dict[str, Any]:
    """The eigenfunctions on the grid, 0 where there is no data."""
    spectrum = files.read_arrays(artifacts.SPECTRUM)
    no_data = spectrum["log_density"] < spectrum["log_density"].max(initial=-np.inf) - DEPTH
    functions = np.where(no_data, 0, np.clip(spectrum["eigenfunctions"][1:], -LARGEST, LARGEST))
    return {
        "view_noise": float(spectrum["view_noise"]),
        "largest": LARGEST,
        "functions": page_script.quantised(functions, "uint8"),
    }


def images(params: Params) -> dict[str, Any]:
    """The test images that the page shows, and the methods on them."""
    test = files.read_arrays(artifacts.data("mnist", "test"))
    shown = slice(params.mnist.snapshot_images)
    return {
        "methods": params.mnist.methods,
        "titles": {name: describe(name).title for name in params.mnist.methods},
        "reconstructed": params.mnist_reconstruct.methods,
        "classes": files.read_json(artifacts.CLASSES)["classes"],
        "images": page_script.sheet(test["images"][shown]),
        "labels": page_script.integers(test["labels"][shown]),
    }


def spectra(measured: Mapping[str, Any]) -> dict[str, Any]:
    """For each method with a spectrum: the noise of its views, the eigenvalues, and R² after and before training."""
    found = {}
    for name, every in measured.items():
        metrics = every.get("spectrum", {})
        places = [k for k in range(1, COUNT) if f"eigenvalue_{k}" in metrics]
        if places:
            after, before = (
                [{key: metrics[f"r2_{k}{which}"][key] for key in ("mean", "std")} for k in places]
                for which in ("", "_untrained")
            )
            values = [metrics[f"eigenvalue_{k}"] for k in places]
            found[name] = {"view_noise": metrics["view_noise"], "eigenvalues": values, "after": after, "before": before}
    return found


def ablation(params: Params, measured: Mapping[str, Any]) -> dict[str, Any]:
    """The spread of the embeddings with each combination of the parts of the EMA method, from the study's own runs.

    The variance floor is another method, VICReg, whose spread is that of this run.
    """
    runs = [
        {
            "predictor": cell["settings"]["jepa_ema.predictor"],
            "stop_gradient": cell["settings"]["jepa_ema.stop_gradient"],
            "ema": cell["settings"]["jepa_ema.decay"] > 0,
            **_spread(cell["collapse.normalised_std"]),
        }
        for cell in files.read_json(STUDIES / "ablation.json")["cells"]
    ]
    floor = look_up(measured, "vicreg.collapse.normalised_std")
    return {"runs": runs, "floor": floor and _spread(floor), "threshold": params.collapse.normalised_std}


def _spread(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean": metric["mean"], "std": metric["std"], "seeds": len(metric["values"])}


def classes() -> tuple[str, ...]:
    """The colours of the classes of the images, which are those of modes as well."""
    return class_colours(max(len(files.read_json(artifacts.CLASSES)["classes"]), len(CLASSES)))


def colours(params: Params) -> dict[str, str]:
    """The colours of methods and classes, as in the figures, by the names of their custom properties in the page's style."""
    methods = {f"method-{name}": method_colour(name) for name in (*params.methods, *params.mnist.methods)}
    return methods | {f"class-{k}": colour for k, colour in enumerate(classes())}


def results(params: Params, mnist: Mapping[str, Any], measured: Mapping[str, Any], steps: list[story.Step]) -> dict[str, Any]:
    """What the page's scripts know from the start: the states of the steps, and metrics that they show beside the pictures."""
    kept = ("clean", "per_perturbation", "mean_image_mse")
    shown = {**mnist, RAW: next(iter(mnist.values()))["raw_pixels"]}
    return {
        "story": [*({"id": one.id, "state": one.state} for one in steps), {"id": "explore", "state": {"b": params.methods[0]}}],
        "class_colours": classes(),
        "spectrum": spectra(measured),
        "ablation": ablation(params, measured),
        "reconstruction": {
            name: {key: mnist[name]["reconstruction"][key] for key in kept} for name in params.mnist_reconstruct.methods
        },
        "robustness": {
            "images": robustness_images(params),
            "clean": {name: one["robustness_clean"]["accuracy"]["mean"] for name, one in shown.items()},
            "methods": {
                name: {
                    kind: {strength: value["mean"] for strength, value in strengths.items()}
                    for kind, strengths in one["robustness"].items()
                }
                for name, one in shown.items()
            },
        },
    }


def robustness_images(params: Params) -> int:
    """The number of images in each perturbed set: the wanted number, or all test images if they are fewer."""
    return min(params.mnist.evaluation.robustness_images, len(files.read_arrays(artifacts.data("mnist", "test"))["labels"]))


def robustness(mnist: Mapping[str, Any]) -> dict[str, Any]:
    """The accuracy of each method, and of raw pixels, on clean images and at each strength of each perturbation."""
    raw = next(iter(mnist.values()))["raw_pixels"]
    shown = {**mnist, RAW: raw}
    rows = [
        {"kind": "none", "strength": "–", "cells": [heat(m["robustness_clean"]["accuracy"]["mean"]) for m in shown.values()]}
    ]
    rows += [
        {
            "kind": kind.replace("_", " "),
            "strength": strength,
            "cells": [heat(m["robustness"][kind][strength]["mean"]) for m in shown.values()],
        }
        for kind, strengths in raw["robustness"].items()
        for strength in strengths
    ]
    return {"names": list(shown), "rows": rows}


def heat(accuracy: float) -> dict[str, Any]:
    """An accuracy with the colours of its cell and its text."""
    red, green, blue, _ = ENERGY_MAP(accuracy)
    ink = "#000" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18 else "#fff"
    return {"accuracy": accuracy, "colour": to_hex((red, green, blue)), "ink": ink}


def claim(method: str, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a claim in the table."""
    mean, std = entry["mean"], entry["std"]
    shown = "–" if mean is None else f"{mean:.3g}" if std is None else f"{mean:.3g} ± {std:.2g}"
    return {
        **entry,
        "method": method,
        "claim": key,
        "answer": answer(entry),
        "title": describe(method).title,
        "shown": shown,
        "bar": None if mean is None else bar(mean, std or 0.0, entry["threshold"]),
        "link": Path(entry["figure"]).relative_to("reports").as_posix(),
        "sentence": sentence(entry, shown),
    }


def answer(entry: Mapping[str, Any]) -> str:
    """What was measured, in a word."""
    return "–" if entry["mean"] is None else "yes" if entry["met"] and not entry["barred"] else "no"


def sentence(entry: Mapping[str, Any], shown: str) -> str:
    """The literature's answer, the measured one with its criterion, and whether they agree."""
    if entry["mean"] is None:
        return "This method has no metric that decides the claim."
    criterion = f"{'' if entry['met'] else 'not '}{entry['direction']} {entry['threshold']:g}"
    collapsed = ", but the embedding has collapsed, which decides the claim" if entry["barred"] else ""
    agree = "agree" if entry["verdict"] == "holds" else "disagree"
    narrowly = " narrowly" if entry["narrow"] else ""
    return (
        f"Literature: {entry['claimed']}. Measured: {answer(entry)}, since {shown} is {criterion}{collapsed}. "
        f"The two {agree}{narrowly}. About the metric: {entry['reason'].replace('`', '')}."
    )


def bar(mean: float, std: float, threshold: float) -> dict[str, str]:
    """Positions on the bar: the mean, one standard deviation to each side, and the threshold as `bound`."""
    low, high = min(mean - std, threshold), max(mean + std, threshold)
    scale = (BAR_WIDTH - 16) / (high - low or 1)
    positions = {"low": mean - std, "high": mean + std, "mean": mean, "bound": threshold}
    return {name: f"{8 + (value - low) * scale:.1f}" for name, value in positions.items()}


def counts(claims: list[dict[str, Any]]) -> str:
    """How many claims hold, fail and are not applicable."""
    found = {verdict: sum(one["verdict"] == verdict for one in claims) for verdict in ("holds", "fails", "not applicable")}
    return f"{found['holds']} hold, {found['fails']} fail, {found['not applicable']} are not applicable."


def inputs(params: Params) -> dict[str, str]:
    """The digests of the models and of all files that the page shows."""
    shown = [artifacts.weights("mog", name) for name in params.methods]
    shown += [artifacts.weights("mnist", name) for name in params.mnist.methods]
    shown += [artifacts.decoder(name) for name in params.mnist_reconstruct.methods]
    shown += [artifacts.CLAIMS, Path("params.yaml"), Path("requirements.txt")]
    shown += [artifacts.metrics("mnist", name) for name in params.mnist.methods]
    shown += [artifacts.page_data("mog", name) for name in params.methods]
    shown += [artifacts.page_data("mnist", name) for name in params.mnist.methods]
    shown += [artifacts.page_data("mnist", f"{name}.reconstruction") for name in params.mnist_reconstruct.methods]
    shown += [artifacts.metrics("mog", name) for name in params.methods]
    shown += [artifacts.page_data("mog", f"{name}.details") for name in params.methods]
    shown += [artifacts.page_data("", name) for name in ("mixture", "spectrum", "images")]
    shown += [artifacts.SPECTRUM, artifacts.data("mog", "test"), artifacts.data("mnist", "test")]
    return {file.as_posix(): digests.of_file(file) for file in shown}


if __name__ == "__main__":
    runner.run(main, threads=1)
