"""Figures and animations: size and length, reproducible bytes, exact colours, constant data without a warning."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from scipy.stats import binomtest, ttest_1samp

from stages.core.paths import ROOT
from stages.plots import (
    animation,
    colours,
    comparison,
    embedding_space,
    gallery,
    images,
    landscape,
    sheets,
    spectra,
    studies,
    verdicts,
)
from stages.plots import pixels as pixel_plots
from stages.plots.canvas import ANIMATION_DPI, DPI, plain, write_gif, write_png
from stages.plots.colours import ACCENT, CLASSES, MOST_COLOURS, REFERENCE, class_colours
from stages.plots.comparison import Shown
from stages.plots.fields import Conditional
from stages.plots.gallery import Landscape
from stages.plots.landscape import COSINE, NATS, Grid
from stages.plots.studies import Map, Series
from stages.results import comparison as results_comparison
from stages.results import image_figures

RNG = np.random.default_rng(0)
GRID = Grid(x=np.linspace(-10, 10, 20), y=np.linspace(-5, 15, 21))
X, Y = np.meshgrid(GRID.x, GRID.y)
ENERGY = -np.cos(X / 3) * np.cos(Y / 3)
FLAT = np.full_like(ENERGY, -1)
SNAPSHOTS = np.stack([ENERGY * k / 5 for k in range(1, 6)])
STEPS = np.array([0, 1, 4, 20, 100])
POINTS = RNG.uniform((-9, -4), (9, 14), (40, 2))
WALK = RNG.uniform((-9, -4), (9, 14), (5, 2))
FIELD = np.stack(np.gradient(-ENERGY)[::-1], -1)
DIGITS = RNG.integers(256, size=(6, 28, 28), dtype=np.uint8)
LABELS = np.arange(40) % 10
NAMES = [str(k) for k in range(10)]
LETTERS = [chr(ord("A") + k) for k in range(26)]
CLOTHES = ["T-shirt/top", "Ankle boot"]
COLOURED = RNG.integers(256, size=(6, 12, 12, 3), dtype=np.uint8)
PROJECTED = RNG.normal(size=(5, 40, 2)).astype(np.float32)
EXPLAINED = np.array([0.5, 0.25])
A, B = Shown("method a", "#0072b2"), Shown("method b", "#d55e00")
EMBEDDED = RNG.normal(size=(40, 6)).astype(np.float32)

MEASURED = {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}
ROBUST = {
    "robustness": {
        kind: {"0.5": MEASURED, "1": MEASURED} for kind in ("affine", "elastic", "low_contrast", "dilation", "erosion")
    },
    "robustness_clean": {"accuracy": MEASURED},
}

Draw = Callable[[], Figure]
Animate = Callable[[], list[np.ndarray]]


def series(label: str, **measured: list[Mapping[str, Any] | None]) -> Series:
    """A series of cells with the metrics of each panel."""
    return Series(label=label, colour="#0072b2", measured=measured)


def landscapes(*names: str, energy: np.ndarray = ENERGY, embedding: bool = True, collapsed: bool = False) -> list[Landscape]:
    """The landscapes of methods with these titles."""
    progress = np.linspace(0, 1, len(energy)) if energy.ndim == 3 else np.ones(1)
    shared = {"energy": energy, "embedding": embedding, "collapsed": collapsed, "progress": progress}
    return [Landscape(title=name, **shared) for name in names]


MIXTURE = Map(title="m", grid=GRID, log_density=-ENERGY)
FIGURES: Mapping[str, tuple[Draw, tuple[float, float]]] = {
    "joint embedding": (
        lambda: landscape.joint_embedding(GRID, ENERGY, POINTS, (0, 0), "f", collapsed=True),
        (5.4, 4.6),
    ),
    "score": (lambda: landscape.score(GRID, (ENERGY, -ENERGY), (FIELD, -FIELD), POINTS, "s", "t"), (9.6, 4.7)),
    "noise levels": (
        lambda: landscape.noise_levels(GRID, [(s, ENERGY, FIELD, ENERGY, FIELD) for s in (9, 1)], [POINTS] * 2, "t"),
        (5.6, 5.2),
    ),
    "gallery": (
        lambda: gallery.gallery(GRID, landscapes("a", collapsed=True), POINTS, ENERGY, (0, 0), "t"),
        (2.3 + 0.8, 5.2),
    ),
    "embedding space": (
        lambda: embedding_space.of_method((EMBEDDED, EMBEDDED**3), LABELS, A, collapsed=True),
        (9.6, 3.5),
    ),
    "embedding spaces": (
        lambda: embedding_space.overview({k: (A, EMBEDDED, k == "c") for k in "abcde"}, LABELS),
        (10.0, 6.8),
    ),
    "sheet": (lambda: sheets.sheet({"bytes": DIGITS, "floats": DIGITS[:4] / 255}, "t", "abcdef"), (5.32, 2.02)),
    "pca": (lambda: images.pca(PROJECTED[0], LABELS, NAMES, EXPLAINED, "t"), (6.2, 5)),
    "pca of two classes": (lambda: images.pca(PROJECTED[0], LABELS % 2, CLOTHES, EXPLAINED, "t"), (6.2, 5)),
    "confusion": (lambda: images.confusion(np.eye(10, dtype=int) * 5 + 1, NAMES, "t"), (5.8, 5.4)),
    "confusion of two classes": (lambda: images.confusion(np.eye(2, dtype=int) + 1, CLOTHES, "t"), (4.97, 4.57)),
    "confusion of letters": (lambda: images.confusion(np.eye(26, dtype=int) + 1, LETTERS, "t"), (10.92, 10.52)),
    "sheet in colour": (lambda: sheets.sheet({"bytes": COLOURED, "floats": COLOURED[:4] / 255}, "t", "abcdef"), (5.32, 2.02)),
    "knn": (lambda: images.knn([(A, 0.01), (B, 0.03)], "t", 0.0099), (6.6, 1.62)),
    "study lines": (
        lambda: studies.lines(
            [0.1, 1.0],
            [series("m", a=[MEASURED] * 2, b=[MEASURED] * 2), series("n", a=[None, MEASURED], b=[None] * 2)],
            ["a", "b"],
            "l",
            "t",
        ),
        (6.8, 3.9),
    ),
    "study bars": (
        lambda: studies.bars([series("p", a=[MEASURED], b=[None]), series("q", a=[MEASURED], b=[MEASURED])], ["a", "b"], "t"),
        (0.95 + 5.2 + 0.4, 2.58),
    ),
    "study bars with settings": (
        lambda: studies.bars([series("p", a=[MEASURED])], ["a"], "t", {"x": ["✓"], "y": ["0.5"]}, MIXTURE),
        (2.4 + 1.9 + 2.6 + 0.4, 2.9),
    ),
    "verdicts": (
        lambda: verdicts.matrix(
            {"p": "P", "q": "P"},
            {
                ("p", "a"): {"verdict": "holds", "claimed": "yes", "narrow": True},
                ("p", "b"): {"verdict": "fails", "claimed": "no (local only)", "narrow": False},
                ("q", "b"): {"verdict": "not applicable", "claimed": "yes", "narrow": False},
            },
            "t",
        ),
        (1.9 + 0.5 * 4, 2.9 + 0.6),
    ),
    "mistakes": (lambda: sheets.mistakes(DIGITS, LABELS[:6], LABELS[1:7], NAMES, "t"), (2.4 + 6.6, 0.7 + 0.58 * 6)),
    "mistakes in colour": (
        lambda: sheets.mistakes(COLOURED, LABELS[:6] % 2, LABELS[1:7] % 2, CLOTHES, "t"),
        (3 + 6.6, 0.7 + 0.58 * 2),
    ),
    "no mistakes": (lambda: sheets.mistakes(DIGITS[:0], LABELS[:0], LABELS[:0], NAMES, "t"), (2.4 + 6.6, 1.28)),
    "neighbours": (
        lambda: sheets.neighbours(DIGITS[:2], DIGITS[None, 2:].repeat(2, 0), np.eye(2, 4, dtype=bool), "t"),
        (0.62 * 5.4, 0.6 + 0.62 * 2),
    ),
    "neighbours in colour": (
        lambda: sheets.neighbours(COLOURED[:2], COLOURED[None, 2:].repeat(2, 0), np.eye(2, 4, dtype=bool), "t"),
        (0.62 * 5.4, 0.6 + 0.62 * 2),
    ),
    "few labels": (lambda: images.few_labels([(A, {"10": MEASURED, "100": MEASURED})] * 4, "d"), (6.6, 4.2)),
    "robustness": (lambda: images.robustness([(A, ROBUST), (B, ROBUST)], 1000, "t"), (10.0, 5.4)),
}
ANIMATIONS: Mapping[str, tuple[Animate, tuple[float, float], int]] = {
    "walk": (lambda: animation.walk(GRID, SNAPSHOTS, WALK, POINTS, "t"), (4.6, 4.0), 5),
    # This animation and `formation` show every second snapshot.
    "training": (
        lambda: animation.training(GRID, SNAPSHOTS.repeat(2, 0)[1:], np.arange(9), COSINE, POINTS, "t", (0, 0)),
        animation.SMALL,
        6,
    ),
    "particles": (
        lambda: animation.particles(GRID, SNAPSHOTS, PROJECTED, STEPS, np.array([9.0, 9, 3, 3, 1]), "t"),
        (4.6, 4.0),
        6,
    ),
    "formation": (
        lambda: gallery.formation(
            GRID, landscapes("a", energy=SNAPSHOTS.repeat(2, 0)[1:]) + landscapes("b", energy=SNAPSHOTS), POINTS, (0, 0)
        ),
        (2 * 1.35 + 0.8, 1.75),
        6,
    ),
    "movie": (lambda: images.movie(DIGITS[:5] / 255, ["from 0 to 1"] * 5), (2.6, 2.9), 5),
    "pca over training": (lambda: images.pca_over_training(PROJECTED, LABELS, NAMES, STEPS, EXPLAINED, "t"), (5, 4.2), 6),
    "movie in colour": (lambda: images.movie(COLOURED[:5] * 1.1 / 255, ["from A to B"] * 5), (2.6, 2.9), 5),
    "denoising in colour": (
        lambda: pixel_plots.denoising(COLOURED[None, :4] / 255 * np.linspace(0, 1, 5)[:, None, None, None, None], STEPS, "t"),
        (4, 4.4),
        6,
    ),
}


def pixels(inches: tuple[float, float], dpi: int) -> tuple[int, int]:
    """Width and height in pixels."""
    return int(inches[0] * dpi + 1e-6), int(inches[1] * dpi + 1e-6)


@cache
def png(name: str) -> bytes:
    """The content of a figure's PNG file."""
    with TemporaryDirectory() as folder:
        write_png(Path(folder) / "new folder" / "a.png", FIGURES[name][0]())
        return (Path(folder) / "new folder" / "a.png").read_bytes()


def gif(
    frames: list[np.ndarray], seconds: float = 3, accents: Sequence[str] = (ACCENT, REFERENCE), *, own_colours: bool = False
) -> bytes:
    """The content of an animation's GIF file."""
    with TemporaryDirectory() as folder:
        write_gif(Path(folder) / "new folder" / "a.gif", frames, seconds, accents, own_colours=own_colours)
        return (Path(folder) / "new folder" / "a.gif").read_bytes()


@cache
def frames(name: str) -> list[np.ndarray]:
    """The frames of an animation, before they are encoded."""
    return ANIMATIONS[name][0]()


def opened(content: bytes) -> list[np.ndarray]:
    """Check the content of an image file and return its frames (H, W, 3) in RGB."""
    with Image.open(BytesIO(content)) as image:
        image.verify()
    with Image.open(BytesIO(content)) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def seconds(content: bytes) -> float:
    """The duration of one loop of an animation."""
    with Image.open(BytesIO(content)) as image:
        return sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) / 1000


def count(frame: np.ndarray, colour: str) -> int:
    """The number of pixels with exactly this colour."""
    return int((frame == np.round(np.array(to_rgb(colour)) * 255).astype(int)).all(-1).sum())


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_a_png_of_the_given_size_and_not_blank(name: str) -> None:
    (frame,) = opened(png(name))
    assert png(name).startswith(b"\x89PNG")
    assert (frame.shape[1], frame.shape[0]) == pixels(FIGURES[name][1], DPI)
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("name", ANIMATIONS)
def test_animation_is_a_looping_gif_of_the_given_size_whose_frames_differ(name: str) -> None:
    _, inches, length = ANIMATIONS[name]
    assert len(frames(name)) == length, "animations of a process hold the last frame for another quarter of their length"
    content = gif(frames(name), seconds=3)
    written = opened(content)
    assert content.startswith(b"GIF89a") and b"NETSCAPE2.0\x03\x01\x00\x00" in content
    assert len(written) == 5, "the held frame is stored as one long frame"
    assert all((frame.shape[1], frame.shape[0]) == pixels(inches, ANIMATION_DPI) for frame in written)
    assert all((a != b).any() for a, b in pairwise(written))
    assert seconds(content) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("name", ["joint embedding", "sheet"])
def test_figure_drawn_twice_has_the_same_bytes(name: str) -> None:
    assert png(name) == png.__wrapped__(name)


@pytest.mark.parametrize("name", ["walk", "pca over training"])
def test_animation_drawn_twice_has_the_same_bytes(name: str) -> None:
    assert gif(frames(name)) == gif(frames.__wrapped__(name))


def test_methods_keep_their_colours_across_panels_and_missing_values_are_omitted() -> None:
    shown = [
        Series(label="m", colour="#111111", measured={"a": [None, None], "b": [MEASURED] * 2}),
        Series(label="n", colour="#222222", measured={"a": [MEASURED] * 2, "b": [MEASURED, None]}),
    ]
    left, right = studies.lines([1, 2], shown, ["a", "b"], "l", "t").axes

    def lines(axes: Axes) -> dict[str, tuple[str, int]]:
        return {c.get_label(): (c[0].get_color(), len(c[0].get_xdata())) for c in axes.containers}

    assert lines(left) == {"n": ("#222222", 2)}
    assert lines(right) == {"m": ("#111111", 2), "n": ("#222222", 1)}


def test_values_too_close_on_an_axis_are_evenly_spaced_and_labelled() -> None:
    def ticks(values: list[float]) -> tuple[str, list[str]]:
        (axes,) = studies.lines(values, [series("m", a=[MEASURED] * len(values))], ["a"], "l", "t").axes
        return axes.get_xscale(), [label.get_text() for label in axes.get_xticklabels()]

    assert ticks([0, 0.9, 0.99, 0.999]) == ("linear", ["0", "0.9", "0.99", "0.999"])
    assert ticks([0.1, 1, 10]) == ("log", ["0.1", "1", "10"])
    assert ticks([0, 0.5, 1])[1] != ["0", "0.5", "1"]
    assert ticks([0.5]) == ticks([0.5])


@pytest.mark.parametrize(
    ("values", "said"), [([0.4, 0.6], "mean ± std over 2 seeds"), ([0.5], "one run per setting")], ids=["seeds", "single"]
)
def test_single_runs_are_not_called_means(values: list[float], said: str) -> None:
    measured = {"mean": 0.5, "std": 0.1, "values": values}
    for figure in (
        studies.lines([1, 2], [series("m", a=[measured] * 2)], ["a"], "l", "t"),
        studies.bars([series("m", a=[measured])], ["a"], "t"),
    ):
        assert said in figure.get_supxlabel().replace("\n", " ")


def test_settings_of_a_study_are_a_table_aligned_with_its_rows() -> None:
    rows = [series(name, a=[MEASURED]) for name in "pqr"]
    table, panel = studies.bars(rows, ["a"], "t", {"flag": ["✓", "✗", "✓"], "decay": ["0", "0.9", "1"]}).axes
    assert table.get_ylim() == panel.get_ylim()
    entries = {text.get_text(): text.get_position() for text in table.texts}
    assert entries["0.9"] == (1, 1) and entries["✗"] == (0, 1) and entries["decay"][0] == 1


def test_accuracy_curves_start_at_the_clean_images_and_have_wilson_intervals() -> None:
    def metric(mean: float) -> dict[str, Any]:
        return {"mean": mean, "std": 0.0, "values": [mean]}

    robust = {kind: {"0.5": metric(0.9), "1": metric(0.2)} for kind in ("affine", "low_contrast")}
    measured = {"robustness_clean": {"accuracy": metric(1.0)}, "robustness": robust}
    figure = images.robustness([(A, measured)], 40, "t")
    assert [axes.get_title() for axes in figure.axes] == ["affine", "low contrast"]
    for axes in figure.axes:
        (bars,) = axes.containers
        line, _, (segments,) = bars.lines
        assert line.get_xydata().tolist() == [[0.0, 1.0], [0.5, 0.9], [1.0, 0.2]]
        intervals = [binomtest(right, 40).proportion_ci(method="wilson") for right in (40, 36, 8)]
        ends = np.array([segment[:, 1] for segment in segments.get_segments()])
        assert ends == pytest.approx(np.array([[one.low, one.high] for one in intervals]), abs=1e-6)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [A.title]


@pytest.mark.parametrize(("methods", "columns"), [(1, 2), (3, 4), (7, 4), (8, 3), (14, 5)])
def test_gallery_has_the_columns_that_leave_fewest_places_empty(methods: int, columns: int) -> None:
    shown = landscapes(*map(str, range(methods)), embedding=False)
    figure = gallery.gallery(GRID, shown, POINTS, ENERGY, (0, 0), "t")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == methods + 1
    assert len({round(axes.get_position().x0, 3) for axes in panels}) == columns


def test_gallery_separates_the_scales_and_marks_collapse_and_reference_point() -> None:
    shown = [*landscapes("nats", embedding=False), *landscapes("flat", collapsed=True), *landscapes("fine")]
    figure = gallery.gallery(GRID, shown, POINTS, ENERGY, (1, 2), "t")
    bars = {axes.get_ylabel() for axes in figure.axes if not axes.get_title() and axes.get_ylabel()}
    assert bars == {NATS.label, COSINE.label}
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    stars = {title for title, axes in panels.items() if any(line.get_marker() == "*" for line in axes.lines)}
    assert stars == {"flat", "fine"}
    assert {title for title, axes in panels.items() if any(t.get_text() == "collapsed" for t in axes.texts)} == {"flat"}


CURVES = {name: (A, STEPS, np.geomspace(1, end, 5), np.geomspace(1, end, 5)) for name, end in (("a", 1e-3), ("b", 10.0))}
CONDITIONAL = Conditional(
    seen=2.0,
    axis=np.linspace(-5, 5, 50),
    true=np.linspace(0, 1, 50),
    mean=0.0,
    point=1.0,
    density=np.linspace(1, 0, 50),
)
MEANS = np.array([[-5.0, 0], [5, 0], [0, 5]])
COMPARISONS: Mapping[str, Draw] = {
    "collapse": lambda: comparison.collapse(CURVES, 0.01, 0.1),
    "conditional": lambda: comparison.conditional({"a": (A, CONDITIONAL)}),
    "critics": lambda: comparison.critics({"a": (A, POINTS[:, 0], POINTS[:, 1], 0.5)}),
    "score errors": lambda: comparison.score_errors(
        GRID, {"a": (A, FIELD, 0 * FIELD, 0.1), "b": (B, FIELD, FIELD, 0.0)}, {"a": -ENERGY, "b": -ENERGY}, 1.0
    ),
    "mode weights": lambda: comparison.mode_weights(
        {"a": (A, np.full((2, 3), 0.3), np.full((2, 3), 0.4))}, np.full(3, 1 / 3), MEANS, GRID, -ENERGY
    ),
}
EMPTY: Mapping[str, Draw] = {
    "collapse": lambda: comparison.collapse({}, 0.01, 0.1),
    "conditional": lambda: comparison.conditional({}),
    "critics": lambda: comparison.critics({}),
    "score errors": lambda: comparison.score_errors(GRID, {}, {}, 1.0),
    "mode weights": lambda: comparison.mode_weights({}, np.ones(3), MEANS, GRID, -ENERGY),
}


@pytest.mark.parametrize(
    "draw", [*COMPARISONS.values(), *EMPTY.values()], ids=[*COMPARISONS, *(f"no {name}" for name in EMPTY)]
)
def test_comparison_is_drawn_with_and_without_methods(draw: Draw, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(tmp_path / "a.png", draw())
    (frame,) = opened((tmp_path / "a.png").read_bytes())
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 10


def test_error_map_shows_a_wrong_score_and_hides_what_no_data_reaches() -> None:
    shown = {"a": (A, FIELD + 9, FIELD, 1.0), "b": (B, FIELD, FIELD, 0.0)}
    wrong, right = comparison.score_errors(GRID, shown, dict.fromkeys("ab", -ENERGY), 1.0).axes[:2]
    errors = [panel.images[0].get_array() for panel in (wrong, right)]
    assert errors[0].min() > errors[1].max()
    reached = (-ENERGY).max() - 1.0 < -ENERGY
    assert all(np.array_equal(~np.ma.getmaskarray(error), reached) for error in errors)


def test_critics_have_equal_axes() -> None:
    values = np.array([-3.0, 1, 2])
    panels = comparison.critics({"a": (A, values, 2 * values, 0.5), "b": (B, values, values, 1.0)}).axes
    assert all(panel.get_xlim() == panel.get_ylim() == panels[0].get_xlim() for panel in panels)


def test_conditionals_have_common_axes() -> None:
    other = replace(CONDITIONAL, true=3 * CONDITIONAL.true, density=None)
    left, right = comparison.conditional({"a": (A, CONDITIONAL), "b": (B, other)}).axes
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[1] >= 3


def test_spectrum_is_the_standard_deviation_along_each_principal_component() -> None:
    z = RNG.normal(size=(500, 5)) * [3, 1, 0.5, 0.1, 0.1] + 4
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    projected, spectrum = embedding_space.principal_components(z)
    np.testing.assert_allclose(np.sort(spectrum**2), np.linalg.eigvalsh(np.cov(unit.T, bias=True)), atol=1e-12)
    np.testing.assert_allclose(projected.std(0), spectrum[:2])


def test_collapsed_embedding_is_a_point_with_no_spectrum() -> None:
    projected, spectrum = embedding_space.principal_components(np.ones((30, 4)))
    assert np.abs(projected).max() < 1e-12 and spectrum.max() < 1e-12


def test_each_method_has_its_own_colour_and_an_unknown_one_a_constant_colour() -> None:
    assert len(set(colours.METHODS.values())) == len(colours.METHODS)
    assert not set(colours.METHODS.values()) & {colours.TRUTH, colours.TRUTH_FILL, colours.BASELINE, ACCENT}
    assert colours.method_colour("dsm") == colours.METHODS["dsm"]
    assert colours.method_colour("new_method") == colours.method_colour("new_method") != colours.method_colour("other")


FURTHER = ("#2266ff", "#ff66ff", "#00dd00")
"""The first colours after those of `CLASSES`, the same on every machine."""


def test_any_number_of_classes_has_distinct_colours_that_do_not_depend_on_it() -> None:
    most = class_colours(MOST_COLOURS)
    assert most[: len(CLASSES)] == CLASSES and len(set(most)) == MOST_COLOURS
    assert class_colours(2) == CLASSES[:2] and class_colours(26) == most[:26]
    assert class_colours(MOST_COLOURS + 3) == most + most[:3]
    assert class_colours(13)[10:] == FURTHER


def test_class_names_are_shown_unchanged_and_in_full() -> None:
    names = [plain(name) for name in ("$5 or $10", "a name of many words")]
    shown = [
        images.confusion(np.eye(2, dtype=int), names, "t").axes[0].get_yticklabels(),
        images.pca(PROJECTED[0], LABELS % 2, names, EXPLAINED, "t").axes[0].texts,
        sheets.mistakes(DIGITS[:2], LABELS[:2], 1 - LABELS[:2], names, "t").axes[0].texts,
    ]
    for texts in shown:
        found = " ".join(text.get_text() for text in texts).replace("\n", " ")
        assert all(name in found for name in names)
        assert not any(text._preprocess_math(text.get_text())[1] is True for text in texts)


def test_many_classes_have_a_legend_instead_of_names_in_the_plot() -> None:
    names = [f"class {k}" for k in range(100)]
    (axes,) = images.pca(RNG.normal(size=(200, 2)), np.arange(200) % 100, names, EXPLAINED, "t").axes
    assert not axes.texts and [text.get_text() for text in axes.get_legend().get_texts()] == names
    (axes,) = images.pca(RNG.normal(size=(52, 2)), np.arange(52) % 26, LETTERS, EXPLAINED, "t").axes
    assert [text.get_text() for text in axes.texts] == LETTERS and axes.get_legend() is None
    figure = images.confusion(np.eye(100, dtype=int), names, "t")
    assert not figure.axes[0].texts and figure.axes[1].get_ylabel() == "misclassified test images"


def test_sheet_shows_colour_images_unchanged() -> None:
    (axes,) = sheets.sheet({"bytes": COLOURED[:2], "floats": COLOURED[:2] / 255 * 2}, "t").axes
    shown, below = np.asarray(axes.images[0].get_array()), 12 + sheets.GAP
    assert np.allclose(shown[:12, below : below + 12], COLOURED[1] / 255)
    assert np.allclose(shown[below : below + 12, :12], (COLOURED[0] / 255 * 2).clip(0, 1))


def test_animation_of_colour_images_has_their_colours() -> None:
    squares = np.repeat(np.repeat(COLOURED[:2], 4, 1), 4, 2)
    coarse = squares // 64 * 64
    assert np.array_equal(np.stack(opened(gif(list(coarse), own_colours=True))), coarse)


def test_all_class_colours_of_an_animation_fit_into_its_palette() -> None:
    colours = class_colours(MOST_COLOURS)
    stripes = np.round(np.array([to_rgb(c) for c in colours]) * 255).astype(np.uint8)[None].repeat(8, 0)
    (frame,) = opened(gif([stripes], accents=colours))
    # Pillow looks up the nearest colour of the palette to within a few values.
    assert np.abs(frame.astype(int) - stripes).max() <= 8


def test_the_target_applies_to_the_test_images_of_mnist_only(monkeypatch: pytest.MonkeyPatch) -> None:
    file = struct.pack(">4I", 2051, *DIGITS.shape) + DIGITS.tobytes()
    monkeypatch.setattr(image_figures, "MNIST_TEST", hashlib.sha256(file).hexdigest())
    accuracy = {"accuracy": MEASURED}
    metrics = {"jepa_ema": {"knn": accuracy, "knn_untrained": accuracy, "knn_raw_pixels": accuracy}}

    def texts(test: np.ndarray) -> str:
        (axes,) = image_figures.knn(metrics, test=test, dataset="Letters", neighbours=5).axes
        return " ".join([axes.get_title(), *(text.get_text() for text in axes.texts)])

    assert "target 0.99 %" in texts(DIGITS) and "target" not in texts(DIGITS[1:]) and "target" not in texts(COLOURED)
    assert "on the test images of Letters" in texts(COLOURED)


def test_figures_of_a_method_on_letters_in_colour(tmp_path: Path) -> None:
    count = 52
    test = {"images": RNG.integers(256, size=(count, 12, 12, 3), dtype=np.uint8), "labels": np.arange(count) % 26}
    fields = {
        "predicted": np.roll(test["labels"], 1),
        "pca": RNG.normal(size=(2, count, 2)),
        "pca_explained": EXPLAINED,
        "queries": np.arange(26),
        "nearest": np.arange(26)[:, None].repeat(3, 1),
        "steps": STEPS[:2],
    }
    robust = {**ROBUST, "robustness": {"affine": {"0.5": MEASURED, "1": MEASURED}}}
    metrics = {**robust, "raw_pixels": robust, "knn": {"accuracy": MEASURED}, "retrieval": {"map": MEASURED}}
    shared = {"classes": LETTERS, "dataset": "Letters"}
    found = image_figures.of_method("jepa_ema", metrics, fields, test, robustness_images=10, shown=count, **shared)
    for name in ("pca", "confusion", "mistakes", "neighbours"):
        title = found[name].get_suptitle() or found[name].axes[0].get_title()
        assert "Letters" in title and "digit" not in title
        write_png(tmp_path / "a.png", found[name])
    assert [text.get_text() for text in found["mistakes"].axes[0].texts][:2] == ["A taken for Z: 2", "B taken for A: 2"]
    assert len(image_figures.over_training("jepa_ema", fields, test["labels"], **shared)) == 2
    path = {"interpolation": np.zeros((6, 12, 12, 3)), "interpolation_labels": np.array([0, 25])}
    assert len(image_figures.interpolation("jepa_ema", path, LETTERS)) == 6
    many = {**fields, "queries": np.arange(40), "nearest": np.arange(40)[:, None]}
    names = [str(k) for k in range(40)]
    found = image_figures.of_method(
        "jepa_ema", metrics, many, test, classes=names, dataset="Many", robustness_images=10, shown=count
    )
    assert "test images of Many, from 30 of the 40 classes, and their" in found["neighbours"].get_suptitle()


# ---------------------------------------------------------------- colours and content


def test_reference_point_keeps_its_colour_in_every_frame() -> None:
    assert min(count(frame, REFERENCE) for frame in opened(gif(frames("walk")))) >= 10


def test_classes_keep_their_ten_colours_in_every_frame() -> None:
    for frame in opened(gif(frames("pca over training"), accents=CLASSES)):
        assert all(count(frame, colour) >= 10 for colour in CLASSES)


@pytest.mark.parametrize("colours", [CLASSES, (ACCENT,)], ids=["classes", "accent"])
def test_palette_of_an_animation_keeps_accent_colours_exactly(colours: tuple[str, ...]) -> None:
    stripes = np.round(np.array([to_rgb(c) for c in (*colours, "white")]) * 255).astype(np.uint8).repeat(8, 0)
    squares = np.stack([stripes] * 8)
    first, second = opened(gif([squares, squares[:, ::-1].copy()], accents=colours))
    assert np.array_equal(first, squares) and np.array_equal(second, squares[:, ::-1])


def test_low_energy_is_darker_than_high_energy() -> None:
    low, high = animation.training(GRID, np.stack([FLAT, -FLAT]), STEPS[:2], COSINE, np.zeros((0, 2)), "t")
    assert low[120:200, 100:200].mean() < high[120:200, 100:200].mean()


def test_landscape_above_the_colour_scale_is_not_white() -> None:
    high = np.full(ENERGY.shape, 1e3, np.float32)
    figure = landscape.score(GRID, (high, high), (0 * FIELD, 0 * FIELD), np.zeros((0, 2)), "s", "t")
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    height, width = image.shape[:2]
    inside = image[height // 3 : height // 2, width // 8 : width // 3].reshape(-1, 3)
    assert (inside == 255).all(-1).mean() < 0.01


def test_arrows_of_learned_and_true_scores_have_one_scale() -> None:
    left, right, *_ = landscape.score(GRID, (ENERGY, ENERGY), (FIELD / 4, FIELD), POINTS, "s", "t").axes
    learned, true = (np.hypot(panel.collections[-1].U, panel.collections[-1].V) for panel in (left, right))
    np.testing.assert_allclose(learned, true / 2)


def test_second_coordinate_points_up_in_figures_and_animations() -> None:
    upper = np.where(Y > 5, 1.0, -1.0)
    figure = landscape.joint_embedding(GRID, upper, np.zeros((0, 2)), (100, 100), "f", collapsed=False)
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    first, *_ = animation.walk(GRID, np.stack([upper] * 2), np.full((2, 2), 100), np.zeros((0, 2)), "t")
    for frame in (image, first):
        height, width = frame.shape[:2]
        column = frame[:, width // 3].astype(int).sum(-1)
        assert column[height // 4] > column[height // 2 + height // 6]


def test_only_the_moving_part_changes_between_frames() -> None:
    varies = np.ptp(np.stack(frames("training")), axis=0).any(-1)
    assert varies.any() and not varies[:, :20].any() and not varies[:20].any() and not varies[:, -40:].any()


def test_sheet_shows_bytes_and_floats_on_the_same_scale() -> None:
    (axes,) = sheets.sheet({"bytes": DIGITS[:1], "floats": DIGITS[:1] / 255, "dark": DIGITS[:1] / 510}, "t").axes
    (image,) = axes.images
    shown = image.cmap(image.norm(image.get_array()))[..., 0]
    below = 28 + sheets.GAP
    first, second, dark = (shown[row * below : row * below + 28, :28] for row in range(3))
    assert np.array_equal(first, second) and np.allclose(first, DIGITS[0] / 255, atol=1 / 255)
    # Images are not scaled by their own brightest pixel.
    assert np.allclose(dark, DIGITS[0] / 510, atol=1 / 255)


# ---------------------------------------------------------------- limit cases


@pytest.mark.parametrize(
    "draw",
    [
        lambda: landscape.joint_embedding(GRID, FLAT, POINTS, (0, 0), "f", collapsed=False),
        lambda: landscape.joint_embedding(GRID, FLAT - 1e-7, POINTS, (0, 0), "f", collapsed=False),
        lambda: gallery.gallery(GRID, landscapes("a", energy=FLAT), POINTS, 0 * FLAT, (0, 0), "t"),
        lambda: embedding_space.of_method((0 * EMBEDDED, 0 * EMBEDDED + 1), LABELS, A, collapsed=True),
        lambda: embedding_space.overview({}, LABELS),
        lambda: images.confusion(np.eye(10, dtype=int) * 5, NAMES, "t"),
        lambda: images.confusion(np.eye(100, dtype=int) * 5, [str(k) for k in range(100)], "t"),
        lambda: sheets.sheet({"black": np.zeros((2, 28, 28), np.uint8), "none": np.zeros((0, 28, 28))}, "t"),
        lambda: landscape.score(GRID, (FLAT, FLAT), (0 * FIELD, 0 * FIELD), POINTS, "s", "t"),
        lambda: landscape.noise_levels(GRID, [(1.0, FLAT, 0 * FIELD, FLAT, 0 * FIELD)], [POINTS], "t"),
        lambda: images.knn([(A, 0.0)], "t"),
    ],
    ids=[
        "embedding", "embedding below the scale", "gallery", "embedding space", "no embedding space", "confusion",
        "large confusion", "sheet", "score", "noise levels", "knn",
    ],
)  # fmt: skip
def test_figure_of_constant_data_is_drawn_without_a_warning(draw: Draw, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(tmp_path / "a.png", draw())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: animation.walk(GRID, np.stack([FLAT] * 5), WALK, POINTS, "t"),
        lambda: animation.training(GRID, np.stack([FLAT] * 5), STEPS, NATS, POINTS, "t"),
        lambda: animation.particles(GRID, np.stack([FLAT] * 2), np.zeros((2, 4, 2)), STEPS[:2], np.ones(2), "t"),
        lambda: gallery.formation(GRID, landscapes("a", energy=np.stack([FLAT] * 5)), POINTS, (0, 0)),
        lambda: images.pca_over_training(np.zeros((2, 40, 2)), LABELS, NAMES, STEPS[:2], 0 * EXPLAINED, "t"),
    ],
    ids=["walk", "training", "particles", "formation", "pca"],
)
def test_animation_of_constant_data_is_drawn_without_a_warning(draw: Animate) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gif(draw())


def test_plots_import_neither_torch_nor_pyplot() -> None:
    modules = sorted(f"stages.plots.{path.stem}" for path in (ROOT / "stages" / "plots").glob("[!_]*.py"))
    assert len(modules) >= 5
    code = f"import sys, {', '.join(modules)}; print(*({{'torch', 'matplotlib.pyplot'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_landscapes_of_unequally_long_trainings_are_shown_at_the_same_progress() -> None:
    (short,), (long,) = (landscapes("a", energy=np.arange(n)[:, None, None] * np.ones((1, 2, 2))) for n in (3, 9))
    assert [short.nearest(p)[0, 0] for p in (0, 0.4, 0.6, 1)] == [0, 1, 1, 2]
    assert [long.nearest(p)[0, 0] for p in (0, 0.4, 0.6, 1)] == [0, 3, 5, 8]


def test_verdicts_of_methods_with_equal_names_have_rows_of_their_own() -> None:
    entry = {"verdict": "holds", "claimed": "yes", "narrow": False}
    figure = verdicts.matrix({"p": "same", "q": "same"}, {("p", "a"): entry, ("q", "a"): entry}, "t")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["same", "same"]
    assert sorted(float(line.get_ydata()[0]) for line in figure.axes[0].lines) == [0, 1]


@pytest.mark.parametrize(
    ("differences", "resolved"),
    [
        ([0.1, 0.12, 0.11, 0.1], True),
        ([-0.1, -0.12, -0.11], True),
        ([0.1, -0.12, 0.11, 0.02], False),
        ([0.3], False),
        ([0.0, 0.0], False),
    ],
)
def test_a_difference_is_resolved_if_the_interval_of_the_seeds_excludes_0(differences: list[float], resolved: bool) -> None:
    """The interval is that of scipy's t-test of paired differences."""
    assert results_comparison.resolved(differences) == resolved
    if len(differences) > 1 and np.std(differences):
        assert (ttest_1samp(differences, 0).pvalue < 0.05) == resolved


def test_the_spectrum_of_encoders_shows_unresolved_differences_in_grey() -> None:
    one = spectra.Represented(
        method=Shown("A", "#0072b2"),
        view_noise=1.0,
        eigenvalues=np.array([0.9, 0.5]),
        after=np.array([0.8, 0.71]),
        before=np.array([0.6, 0.7]),
        resolved=np.array([True, False]),
    )
    tables = spectra.matrix([one]).axes[3:6]
    texts = [[(text.get_text(), text.get_color()) for text in table.texts] for table in tables]
    assert texts == [
        [(".80", "black"), (".71", "black")],
        [(".60", "black"), (".70", "black")],
        [("+.20", "black"), ("+.01", "0.6")],
    ]
